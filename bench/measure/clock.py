"""Read the date, and how long a person has waited. Workers read their own clocks for what they time."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, sleep

from bench.errors import BenchError


def utc_now() -> str:
    """Return the current time as ``2026-01-31T12:00:00Z``. Raises BenchError if it is no date."""
    try:
        now = datetime.now(UTC)
    except (OSError, OverflowError, ValueError):
        raise BenchError("the clock of this machine is not between the years 1 and 9999: set it") from None
    return now.isoformat(timespec="seconds").replace("+00:00", "Z")


def elapsed_s() -> float:
    """Return seconds since some moment; only differences mean anything."""
    return monotonic()


def pause(seconds: float) -> None:
    """Sleep, so that the activity of other processes can be observed."""
    sleep(seconds)
