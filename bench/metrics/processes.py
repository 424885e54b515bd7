"""How far apart the processes of a row are, which a figure of one process does not show.

A row's absolute figures come from one process alone. The pairs of processes that its ratio comes from decode
the same requests, so their spread says what another process, minutes later, would have measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from bench.records import ArmRecord, RunRecord
from bench.stats.pairs import LEAST_PAIRS


def spread(arm: ArmRecord, run: RunRecord) -> float:
    """Return the standard deviation of the log of the times of the arm's processes.

    Each process is compared with the solo pass over the same batches. It is 0.0 if there are fewer than two.
    """
    alone_ns = [batch.end_ns - batch.sent_ns for batch in arm.solo]
    logs = [
        math.log(sum(map(sum, turns)) / sum(alone_ns[batch] for batch in batches))
        for batches, turns in _turns(arm, run)
        if all(batch < len(alone_ns) for batch in batches)
    ]
    return statistics.stdev(logs) if len(logs) >= LEAST_PAIRS else 0.0


def _turns(arm: ArmRecord, run: RunRecord) -> Iterator[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]]:
    """Yield (batches, nanoseconds per turn) of each of the arm's processes.

    A baseline has a process in every pair of its group.
    """
    if not arm.is_baseline:
        yield from ((unit.batches, unit.variant_ns) for unit in run.pairs_of(arm))
        return
    for unit in run.units:
        if unit.group == arm.group and not unit.void:
            yield unit.batches, unit.baseline_ns
