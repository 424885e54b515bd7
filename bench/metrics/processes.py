"""Compute how far apart the processes of a row are, which a figure of one process does not show.

A row's absolute figures come from a single process. The pairs of processes from which its ratio comes decode
the same requests, so their spread shows how far another process, minutes later, would have been from it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from bench.records import ArmRecord, ColdStart, RunRecord
from bench.stats.intervals import LEAST_SAMPLES, Interval, positive_mean, t_quantile
from bench.stats.pairs import LEAST_PAIRS


def half_width(arm: ArmRecord, run: RunRecord) -> float:
    """Return how far the mean of all processes may lie from that of one, on the log scale, with 95 %.

    It is t·s. Each process of the arm is compared with the solo pass over the same batches; s is the standard
    deviation of the logs of these ratios, and t is Student's for so many processes. It is 0.0 for fewer than
    two.
    """
    alone_ns = [batch.end_ns - batch.sent_ns for batch in arm.solo]
    logs = [
        math.log(sum(map(sum, turns)) / sum(alone_ns[batch] for batch in batches))
        for batches, turns in _turns(arm, run)
        if all(batch < len(alone_ns) for batch in batches)
    ]
    return t_quantile(len(logs) - 1) * statistics.stdev(logs) if len(logs) >= LEAST_PAIRS else 0.0


def mean_time(arm: ArmRecord, run: RunRecord) -> Interval:
    """Return the mean seconds of a batch of the solo pass, with the bounds of the mean over all processes.

    The processes decode the same batches, so they show how long another process would have taken for the
    whole pass, noise of requests included. The bounds come from the requests only if there are no such
    processes.
    """
    mean = positive_mean([batch.duration_s for batch in arm.solo])
    half = half_width(arm, run)
    if not half:
        return mean
    return Interval(mean.value, mean.value * math.exp(-half), mean.value * math.exp(half))


def like_time(value: float, arm: ArmRecord, run: RunRecord) -> Interval:
    """Return a value that grows with the time of the solo pass, with the relative bounds of that time."""
    time = mean_time(arm, run)
    if time.low is None or time.high is None or not time.value:
        return Interval(value, None, None)
    return Interval(value, value * time.low / time.value, value * time.high / time.value)


def between_starts(value: float | None, seen: Sequence[float]) -> Interval | None:
    """Return a value that one process showed once, such as its load time, with bounds from all processes of
    the row: ``value·exp(±t·s)``, where s is the standard deviation of the logarithms of their values.

    Fewer than five processes give no bounds. The result is None without a value.
    """
    if value is None:
        return None
    if len(seen) < LEAST_SAMPLES or min(seen) <= 0 or value <= 0:
        return Interval(value, None, None)
    half = t_quantile(len(seen) - 1) * statistics.stdev(map(math.log, seen))
    return Interval(value, value * math.exp(-half), value * math.exp(half))


def cold_starts(arm: ArmRecord, run: RunRecord) -> list[ColdStart]:
    """Return how each of the arm's processes in a pair started; a baseline has one in every pair."""
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
