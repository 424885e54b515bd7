"""Read the date, and how long a person has waited. Workers read their own clocks for what they time."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, sleep


def utc_now() -> str:
    """Return the current time as ``2026-01-31T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def elapsed_s() -> float:
    """Return seconds since some moment; only differences mean anything."""
    return monotonic()


def pause(seconds: float) -> None:
    """Sleep, so that the activity of other processes can be observed."""
    sleep(seconds)
