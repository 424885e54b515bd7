"""Further statistics of two distributions over the next token: one file for each.

A statistic has ``METRIC``; ``of_positions(base, variant)``, which returns a value for each row of two float32
logit blocks of shape [rows, vocabulary] (torch tensors, used by their methods alone, in a worker); and
``figure(values)``, the figure of a list of values for each window of text. ``drift.statistics`` names the
statistics of a run.
"""
