"""Compute further statistics of drift, each of which is defined in its own file."""

from __future__ import annotations

from bench import plugins
from bench.metrics.output_drift import scored_on
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures

PLACE = 9
STATISTICS = dict(plugins.each("drift.statistics"))
METRICS = tuple(statistic.METRIC for statistic in STATISTICS.values())


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the statistics; None for a baseline, and for those that the config does not name."""
    result: Figures = {}
    for name, statistic in STATISTICS.items():
        windows = [window.more[name] for window in arm.drift if name in window.more]
        value = statistic.figure(windows) if windows else None
        result[statistic.METRIC.key] = statistic.METRIC.scalar(value, **scored_on(arm.drift, run))
    return result
