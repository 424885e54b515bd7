"""A window of time over which a counter of energy is read, begun and ended as its updates allow.

A GPU's counter is updated about ten times a second. Read at any moment it is up to a tenth of a second old,
and a window of half a second could lose a fifth of its joules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns, sleep

LOOK_S, EDGE_S = 0.001, 1.5  # between two looks for an update; an update that takes longer does not come
Read = Callable[[], float]  # joules since some fixed moment


@dataclass(frozen=True)
class Begun:
    """A window that began with an update of its counter: when (s), at how many joules, and the seconds from
    one update to the next."""

    start: float
    joules: float
    update_s: float


def begun(read: Read) -> Begun | None:
    """Wait for two updates of a counter, and begin a window with the second one; None if none comes."""
    first = edge(read)
    second = first and edge(read)
    if first is None or second is None:
        return None
    return Begun(*second, second[0] - first[0])


def joules_until(read: Read, window: Begun, end: float) -> float | None:
    """Return the joules of a window until ``end`` (s), a moment ago; None if the counter stands still.

    Its next update is waited for, and shared out evenly over the time since the last one.
    """
    so_far = read()
    after = edge(read)
    if after is None:
        return None
    came, then = after
    update_s = window.update_s
    since = min(max((end - (came - update_s)) / update_s, 0.0), 1.0) if update_s else 1.0
    return so_far + (then - so_far) * since - window.joules


def edge(read: Read) -> tuple[float, float] | None:
    """Wait for a counter's next update; return its time (s) and the joules, or None if none comes."""
    before, since = read(), now()
    while now() - since < EDGE_S:
        sleep(LOOK_S)
        if (found := read()) != before:
            return now(), found
    return None


def now() -> float:
    """Return the seconds since some moment."""
    return perf_counter_ns() / 1e9
