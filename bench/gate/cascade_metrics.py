"""List the metrics that only rows of one kind have, and those that a cascade cannot have."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from bench.gate.encoder_metrics import OF_PHASES, OF_TOKENS
from bench.metrics import cascade, cascade_curve, drift_keys, speculation, split, under_load
from bench.records import Json


@cache
def of_cascades() -> frozenset[str]:
    """Return the metrics that only a cascade has."""
    return frozenset(metric.key for metric in (*cascade.METRICS, *cascade_curve.METRICS))


@cache
def of_curves() -> frozenset[str]:
    """Return the metrics of a cascade that need a suite with right and wrong answers."""
    return frozenset(metric.key for metric in cascade_curve.METRICS)


@cache
def of_verbs() -> dict[str, str]:
    """Return the metrics that only a row with one verb has, each with this verb."""
    families = {"speculate": speculation.METRICS, "split": split.METRICS}
    return {metric.key: verb for verb, metrics in families.items() for metric in metrics}


@cache
def not_of_cascades() -> frozenset[str]:
    """Return the metrics of single tokens and of their distributions, which a cascade cannot have.

    It gives whole answers, and each answer comes from one of two models.
    """
    tokens = {metric.key for metric in (*OF_TOKENS, *OF_PHASES)}
    percentiles = {
        percentile.key
        for (metric, _share), percentile in under_load.PERCENTILES.items()
        if metric in OF_TOKENS
    }
    return frozenset(tokens | percentiles | drift_keys())


def is_cascade(steps: Iterable[Json]) -> bool:
    """Return whether a row is a cascade, by the evidence of its steps."""
    return any(step.get("cascade") for step in steps)
