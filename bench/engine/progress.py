"""Send progress messages from a worker, rarely, and only during work that is not timed."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic

EVERY_S = 5.0
WIDTH = 20


def _nowhere(_text: str) -> None:
    """Drop the message; this is the sink until ``use`` sets another one."""


_sink: Callable[[str], None] = _nowhere
_last = float("-inf")
_one_at_a_time = Lock()


def use(sink: Callable[[str], None]) -> None:
    """Send all further messages to ``sink``."""
    global _sink
    _sink = sink


def say(text: str, *, now: bool = False) -> None:
    """Send ``text``, unless a message was sent in the last five seconds; with ``now`` it is sent anyway."""
    global _last
    with _one_at_a_time:  # a build of kernels calls this from another thread
        moment = monotonic()
        if now or moment - _last >= EVERY_S:
            _last = moment
            _sink(text)


def bar(share: float) -> str:
    """Return a progress bar of twenty characters for a share between 0 and 1."""
    filled = round(WIDTH * min(max(share, 0.0), 1.0))
    return "█" * filled + "░" * (WIDTH - filled)
