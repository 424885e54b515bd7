"""Statistics of two output streams. Pure functions."""
