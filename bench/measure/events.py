"""Define the events that a run reports to its listener, in the order in which they happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import Outcome


@dataclass(frozen=True)
class Began:
    """A row has started a stage, such as its second pair of processes."""

    who: str
    stage: str


@dataclass(frozen=True)
class Ended:
    """The measurement of a row has ended; ``reason`` is empty if it ended well."""

    who: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Noted:
    """A message about the whole run; an ``urgent`` one is shown even to those who want no progress."""

    text: str
    urgent: bool = False


Event = Began | Ended | Noted
Tell = Callable[[Event], None]


def nobody(_event: Event) -> None:
    """Ignore the event; the default listener of a run that nobody watches."""
