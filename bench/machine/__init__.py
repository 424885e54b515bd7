"""What machine this is, what disturbs it, what it lacks."""
