"""Report the results of the probes, each of which defines its metrics in its own file."""

from __future__ import annotations

from bench import plugins
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures

PLACE = 11
PROBES = dict(plugins.each("probes"))
METRICS = tuple(metric for probe in PROBES.values() for metric in probe.METRICS)


def figures(arm: ArmRecord, _run: RunRecord) -> Figures:
    """Return the results of the probes; None for what was not measured."""
    result: Figures = {}
    for name, probe in PROBES.items():
        values = arm.probes.get(name, {})
        result |= {metric.key: metric.scalar(values.get(metric.key)) for metric in probe.METRICS}
    return result
