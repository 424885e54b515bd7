"""Define further statistics of two distributions over the next token, one file each.

The file of a statistic defines three names:

- ``METRIC`` is its metric.
- ``of_positions(base, variant)`` returns one value per row of two float32 blocks of logits of shape [rows,
  vocabulary]. It runs in a worker and uses only methods of these torch tensors.
- ``figure(values)`` returns the figure of a list of values for each window of text.

A config names the statistics of a run in ``drift.statistics``.
"""
