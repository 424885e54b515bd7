"""Compare the outputs of two models by statistics and behaviour suites, with pure functions."""
