"""Open and close a window of time over which energy counters are read, when their updates allow it.

A GPU's counter is updated about ten times a second. Read at any moment it is up to a tenth of a second old,
and a window of half a second could lose a fifth of its joules. The counters of two GPUs are not updated at
the same moments, so each has its own times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, sleep

LOOK_S, EDGE_S = 0.001, 1.5  # between two looks for an update; an update that takes longer does not come
Read = Callable[[], float]  # joules since some fixed moment
Edge = tuple[float, float]  # an update of a counter: when it was seen (s), and its joules


@dataclass(frozen=True)
class Begun:
    """A window that began with an update of a counter: when (s), at how many joules of all counters together,
    and the seconds from one update of a counter to its next one."""

    start: float
    joules: float
    update_s: float


def begun(reads: Sequence[Read]) -> Begun | None:
    """Wait for two updates of each counter, and begin a window with the last one; None if one does not come.

    A counter that was updated earlier than the last one has gone on since then at its last power.
    """
    first = edges(reads)
    second = first and edges(reads)
    if not first or not second:
        return None
    start, joules, updates_s = max(at for at, _joules in second), 0.0, []
    for (before, then), (at, so_far) in zip(first, second, strict=True):
        updates_s.append(at - before)
        joules += so_far + (so_far - then) / updates_s[-1] * (start - at)
    return Begun(start, joules, min(updates_s))  # that of another counter may have gone unseen


def joules_until(reads: Sequence[Read], window: Begun, end: float) -> float | None:
    """Return the joules of a window until ``end`` (s), a moment ago; None if a counter stands still.

    The next update of each counter is waited for, and shared out evenly over the time since its last one.
    """
    so_far = [read() for read in reads]
    after = edges(reads)
    if after is None:
        return None
    total = -window.joules
    for before, (came, then) in zip(so_far, after, strict=True):
        since = min(max((end - came) / window.update_s + 1.0, 0.0), 1.0)
        total += before + (then - before) * since
    return total


def edges(reads: Sequence[Read]) -> list[Edge] | None:
    """Wait for the next update of each counter, and return them; None if one of them does not come."""
    before, since = [read() for read in reads], now()
    found: dict[int, Edge] = {}
    while now() - since < EDGE_S:
        sleep(LOOK_S)
        for place, read in enumerate(reads):
            if place not in found and (joules := read()) != before[place]:
                found[place] = now(), joules
        if len(found) == len(reads):
            return [found[place] for place in range(len(reads))]
    return None


def now() -> float:
    """Return the seconds since some moment."""
    return perf_counter_ns() / 1e9
