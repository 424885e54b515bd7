"""List the metrics that only a cascade has, and those that a cascade cannot have."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from bench.metrics import cascade, cascade_curve, drift_keys, latency, throughput, under_load
from bench.records import Json

_OF_TOKENS = (latency.TTFT, latency.TPOT, latency.ITL)
_OF_PHASES = (throughput.PREFILL, throughput.DECODE, throughput.OUTPUT)


@cache
def of_cascades() -> frozenset[str]:
    """Return the metrics that only a cascade has."""
    return frozenset(metric.key for metric in (*cascade.METRICS, *cascade_curve.METRICS))


@cache
def not_of_cascades() -> frozenset[str]:
    """Return the metrics of single tokens and of their distributions, which a cascade cannot have.

    It gives whole answers, and each answer comes from one of two models.
    """
    tokens = {metric.key for metric in (*_OF_TOKENS, *_OF_PHASES)}
    percentiles = {
        percentile.key
        for (metric, _share), percentile in under_load.PERCENTILES.items()
        if metric in _OF_TOKENS
    }
    return frozenset(tokens | percentiles | drift_keys())


def is_cascade(steps: Iterable[Json]) -> bool:
    """Return whether a row is a cascade, by the evidence of its steps."""
    return any(step.get("cascade") for step in steps)
