"""Figures of one row, from its record: one file a family. Pure functions; no clock, no torch."""

from __future__ import annotations

from bench.metrics import (
    cost,
    counters,
    energy,
    generation,
    latency,
    memory,
    one_off,
    output_drift,
    roofline,
    throughput,
)
from bench.stats.figure import Metric

FAMILIES = (latency, throughput, memory, energy, cost, one_off, counters, output_drift, generation, roofline)
METRICS: dict[str, Metric] = {metric.key: metric for family in FAMILIES for metric in family.METRICS}
