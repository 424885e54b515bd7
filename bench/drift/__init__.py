"""Compare two output streams by statistics. Pure functions."""
