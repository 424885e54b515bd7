"""What a run tells whoever watches it, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import Outcome


@dataclass(frozen=True)
class Began:
    """A row has begun a stage, such as its second pair of processes."""

    who: str
    stage: str


@dataclass(frozen=True)
class Ended:
    """A row will not be measured any further; ``reason`` is empty where it ended well."""

    who: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True)
class Noted:
    """Something about the whole run."""

    text: str


Event = Began | Ended | Noted
Tell = Callable[[Event], None]


def nobody(_event: Event) -> None:
    """For a run that nobody watches."""
