"""What several schemes have in common."""
