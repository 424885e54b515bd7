"""Intervals, ratios and the verdicts on them."""
