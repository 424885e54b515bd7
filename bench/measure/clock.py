"""The wall clock, for names and dates. Durations are the workers' monotonic clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from time import sleep


def utc_now() -> str:
    """Now, as ``2026-01-31T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pause(seconds: float) -> None:
    """Wait and do nothing, so that what others do can be seen."""
    sleep(seconds)
