"""What a person meets: the commands, and everything that prints."""
