"""How far apart the processes of a row are, which a figure of one process does not show.

A row's absolute figures come from one process alone. The pairs of processes that its ratio comes from decode
the same requests, so their spread says what another process, minutes later, would have measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from bench.records import ArmRecord, RunRecord
from bench.stats.intervals import Interval, mean_interval, t_quantile
from bench.stats.pairs import LEAST_PAIRS


def half_width(arm: ArmRecord, run: RunRecord) -> float:
    """Return how far the mean of all processes may lie from that of one, on the log scale, with 95 %.

    It is t·s: s is the standard deviation of the log of the times of the arm's processes, each compared with
    the solo pass over the same batches, and t is Student's for so many. It is 0.0 for fewer than two.
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

    The processes decode the same batches, so they show what another process would have taken for the whole
    pass, noise of requests included. Only without them do the bounds come from the requests.
    """
    mean = mean_interval([batch.duration_s for batch in arm.solo])
    half = half_width(arm, run)
    if not half:
        return mean
    return Interval(mean.value, mean.value * math.exp(-half), mean.value * math.exp(half))


def _turns(arm: ArmRecord, run: RunRecord) -> Iterator[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]]:
    """Yield (batches, nanoseconds per turn) of each of the arm's processes.

    A baseline has a process in every pair of its group. Servers have no batches.
    """
    if not arm.is_baseline:
        yield from ((unit.batches, unit.variant_ns) for unit in run.pairs_of(arm) if not unit.loads)
        return
    for unit in run.units:
        if unit.group == arm.group and not unit.void and not unit.loads:
            yield unit.batches, unit.baseline_ns
