"""The figures of one row, from its record: one file for each family. Pure functions; no clock, no torch.

A family has ``METRICS`` and ``figures(arm, run)``. It may have ``PLACE``, a number that orders the list of
families, and ``worked(arm, run)``, which returns for some of its metrics the arithmetic with the row's own
numbers put in. ``bench explain`` prints it, and a test computes it again.
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
    found = [module for module in modules if hasattr(module, "METRICS")]
    return tuple(sorted(found, key=lambda module: (getattr(module, "PLACE", LAST), module.__name__)))


@cache
def all_metrics() -> dict[str, Metric]:
    """Return every metric by its key."""
    return {metric.key: metric for family in families() for metric in family.METRICS}


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of a row's own figures with its numbers, by metric, where a family has it."""
    found: dict[str, str] = {}
    for family in families():
        if hasattr(family, "worked"):
            found |= family.worked(arm, run)
    return found


@cache
def drift_keys() -> frozenset[str]:
    """Return the keys of the metrics that compare distributions over the next token."""
    drift_families = [family for family in families() if family.__name__.rpartition(".")[2] in DRIFT]
    return frozenset(metric.key for family in drift_families for metric in family.METRICS)
