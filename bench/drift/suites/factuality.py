"""Factuality: of four answers to a question, in English or Chinese, the right one must be the likeliest."""

from __future__ import annotations

from bench.drift.behaviour import Suite

SUITE = Suite("factuality", "the right choice has the highest summed log-likelihood")
PLACE = 20
METRICS = SUITE.metrics
OF_EVERY_ROW = (SUITE.accuracy,)
figures = SUITE.figures
