"""Your own closed questions, as JSON lines with ``id``, ``lang``, ``prompt``, ``choices`` and ``right``.

The config names the file in ``drift.items``. The likeliest choice is the model's answer.
"""

from __future__ import annotations

from bench.drift.behaviour import Suite

SUITE = Suite("own", "the right choice has the highest summed log-likelihood", from_file=True)
PLACE = 27
METRICS = SUITE.metrics
OF_EVERY_ROW = (SUITE.accuracy,)
figures = SUITE.figures
