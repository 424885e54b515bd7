"""Compute intervals, ratios and quantiles, and give verdicts on ratios."""
