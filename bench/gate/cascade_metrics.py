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


def is_for(metric: str, labels: Iterable[str], steps: Iterable[Json], value: object) -> bool:
    """Return whether a limit on a metric is meant for a row, by the labels and the evidence of its steps.

    A row of another kind does not have the figure, and is not judged by it. A row that has a ``value`` is: an
    engine of another package may speculate by itself.
    """
    if metric in of_cascades():
        return any(step.get("cascade") for step in steps)
    verb = of_verbs().get(metric)
    return verb is None or value is not None or any(label.split()[0] == verb for label in labels)
