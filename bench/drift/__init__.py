"""Compare the outputs of two models by statistics, with pure functions."""
