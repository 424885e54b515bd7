"""Compute intervals and ratios, and give verdicts on them."""
