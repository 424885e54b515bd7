"""Compute the figures of a row from its record, with one file per family of metrics.

Nothing here reads a clock or imports torch. A family defines ``METRICS`` and ``figures(arm, run)``, a pure
function. It may define ``PLACE``, a number that orders the list of families, and ``worked(arm, run)``, which
returns the arithmetic of some of its metrics with the row's own numbers. ``bench explain`` prints this
arithmetic, and a test computes it again.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

from bench import plugins
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Metric

LAST = 100
DRIFT = (
    "output_drift",
    "drift_tails",
    "drift_parts",
    "drift_statistics",
    "encoded",
)  # the families that run.json keeps under ``drift``


@cache
def families() -> tuple[ModuleType, ...]:
    """Return every family, including the suites of drift, in the order in which they are listed."""
    modules = [module for kind in ("metrics", "drift.suites") for _name, module in plugins.each(kind)]
    with_metrics = [module for module in modules if hasattr(module, "METRICS")]
    return tuple(sorted(with_metrics, key=lambda module: (getattr(module, "PLACE", LAST), module.__name__)))


@cache
def all_metrics() -> dict[str, Metric]:
    """Return every metric by its key."""
    return {metric.key: metric for family in families() for metric in family.METRICS}


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return {metric: arithmetic with the row's own numbers}, from the families that define ``worked``."""
    arithmetic: dict[str, str] = {}
    for family in families():
        if hasattr(family, "worked"):
            arithmetic |= family.worked(arm, run)
    return arithmetic


@cache
def drift_keys() -> frozenset[str]:
    """Return the keys of the metrics that compare distributions over the next token."""
    drift_families = [family for family in families() if family.__name__.rpartition(".")[2] in DRIFT]
    return frozenset(metric.key for family in drift_families for metric in family.METRICS)
