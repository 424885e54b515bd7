"""The child process: its protocol, its command loop, its timed passes. Standard library and engine only."""
