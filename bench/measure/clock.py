"""The wall clock, used for names and dates only; workers time durations with their monotonic clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from time import sleep


def utc_now() -> str:
    """Return the current time as ``2026-01-31T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pause(seconds: float) -> None:
    """Sleep, so that the activity of other processes can be observed."""
    sleep(seconds)
