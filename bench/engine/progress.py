"""What a worker says before it is done: only in work that is not timed, and seldom."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

EVERY_S = 5.0
WIDTH = 20


def _nowhere(_text: str) -> None:
    """Until somebody listens."""


_sink: Callable[[str], None] = _nowhere
_last = float("-inf")


def use(sink: Callable[[str], None]) -> None:
    """Where words go from now on."""
    global _sink
    _sink = sink


def say(text: str, *, now: bool = False) -> None:
    """Pass ``text`` on, unless something was said in the last five seconds and this need not be said now."""
    global _last
    moment = monotonic()
    if now or moment - _last >= EVERY_S:
        _last = moment
        _sink(text)


def bar(share: float) -> str:
    """A share of 1 as twenty characters."""
    filled = round(WIDTH * min(max(share, 0.0), 1.0))
    return "█" * filled + "░" * (WIDTH - filled)
