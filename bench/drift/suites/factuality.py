"""Factuality: closed questions whose right answer must be the likeliest of four, in English and Chinese."""

from __future__ import annotations

from bench.drift.behaviour import Suite

SUITE = Suite("factuality", "the right choice has the highest summed log-likelihood")
PLACE = 20
METRICS = SUITE.metrics
OF_EVERY_ROW = (SUITE.accuracy,)
figures = SUITE.figures
