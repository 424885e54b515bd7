"""Compute how far the processes of a row differ, which a figure of one process does not show.

A row's absolute figures come from a single process. Its ratio comes from pairs of other processes that decode
the same requests. Their spread shows how far the figures of another process, minutes later, could differ.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from bench.records import ArmRecord, ColdStart, RunRecord
from bench.stats.intervals import LEAST_SAMPLES, Interval, positive_mean, t_quantile
from bench.stats.pairs import LEAST_PAIRS


def half_width(arm: ArmRecord, run: RunRecord) -> float:
    """Return how far (log scale, 95 %) the mean over all processes may lie from the time of one process.

    It is t·s. Each process of the arm is compared with the solo pass over the same batches; s is the standard
    deviation of the logs of these ratios, and t is Student's t for the number of processes. The result is 0.0
    for fewer than two processes.
    """
    alone_ns = [batch.end_ns - batch.sent_ns for batch in arm.solo]
    logs = [
        math.log(sum(map(sum, turns)) / sum(alone_ns[batch] for batch in batches))
        for batches, turns in _turns(arm, run)
        if all(batch < len(alone_ns) for batch in batches)
    ]
    return t_quantile(len(logs) - 1) * statistics.stdev(logs) if len(logs) >= LEAST_PAIRS else 0.0


def mean_time(arm: ArmRecord, run: RunRecord) -> Interval:
    """Return the mean seconds of a batch of the solo pass, with bounds for the mean over all processes.

    The processes decode the same batches, so their spread shows how long another process would have taken for
    the whole pass, and it includes the noise of requests. Without such processes, the bounds come from the
    requests of the solo pass.
    """
    mean = positive_mean([batch.duration_s for batch in arm.solo])
    half = half_width(arm, run)
    if not half:
        return mean
    return Interval(mean.value, mean.value * math.exp(-half), mean.value * math.exp(half))


def like_time(value: float, arm: ArmRecord, run: RunRecord) -> Interval:
    """Return a value that is proportional to the time of the solo pass, with the relative bounds of it."""
    time = mean_time(arm, run)
    if time.low is None or time.high is None or not time.value:
        return Interval(value, None, None)
    return Interval(value, value * time.low / time.value, value * time.high / time.value)


def between_starts(value: float | None, all_values: Sequence[float]) -> Interval | None:
    """Return a value that one process measured once, such as its load time, with bounds from all processes.

    The bounds are ``value·exp(±t·s)``, where s is the standard deviation of the logarithms of ``all_values``.
    Fewer than five processes give no bounds. The result is None without a value.
    """
    if value is None:
        return None
    if len(all_values) < LEAST_SAMPLES or min(all_values) <= 0 or value <= 0:
        return Interval(value, None, None)
    half = t_quantile(len(all_values) - 1) * statistics.stdev(map(math.log, all_values))
    return Interval(value, value * math.exp(-half), value * math.exp(half))


def cold_starts(arm: ArmRecord, run: RunRecord) -> list[ColdStart]:
    """Return the cold start of each of the arm's processes in pairs; a baseline has one in every pair."""
    if not arm.is_baseline:
        return [unit.cold.variant for unit in run.valid_units_of(arm) if unit.cold]
    units = (unit for unit in run.units if unit.group == arm.group and not unit.void)
    return [unit.cold.baseline for unit in units if unit.cold]


def _turns(arm: ArmRecord, run: RunRecord) -> Iterator[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]]:
    """Yield (batches, nanoseconds per turn) of each of the arm's processes.

    A baseline has a process in every pair of its group. Servers have no batches.
    """
    if not arm.is_baseline:
        yield from ((unit.batches, unit.variant_ns) for unit in run.valid_units_of(arm) if not unit.loads)
        return
    for unit in run.units:
        if unit.group == arm.group and not unit.void and not unit.loads:
            yield unit.batches, unit.baseline_ns
