"""The commands, and everything that prints for the user."""
