"""Define the settings of a simulated link, and compute the time that a message takes on it on average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

Direction = Literal["up", "down"]  # up: from the edge to the cloud

MOST_S = 600.0
LEAST_MEGABITS, MOST_MEGABITS = 0.001, 1_000_000.0


def _within(name: str, value: float | None, least: float, most: float) -> None:
    """Raise ValueError unless the number is finite and within both bounds; None is no number and passes."""
    if value is not None and not (math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{name} must be {least:g} to {most:g}, not {value:g}")


@dataclass(frozen=True)
class Outage:
    """A time in which nothing crosses the link.

    It begins ``after_s`` seconds after the link was opened and lasts ``for_s`` seconds, for ever if that is
    absent. It comes again ``every_s`` seconds, counted from one beginning to the next, if that is given.
    """

    after_s: float = 0.0
    for_s: float | None = None
    every_s: float | None = None

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        _within("after_s", self.after_s, 0, 1e6)
        _within("for_s", self.for_s, 0.001, 1e6)
        _within("every_s", self.every_s, 0.001, 1e6)
        if self.every_s is not None and (self.for_s is None or self.for_s >= self.every_s):
            raise ValueError("every_s must be longer than for_s, or the link never comes back")

    def left_s(self, since_s: float) -> float:
        """Return how many seconds of an outage are left ``since_s`` seconds after the link was opened: 0 if
        the link is up, infinity if it never comes back."""
        into = since_s - self.after_s
        if into < 0:
            return 0.0
        if self.for_s is None:
            return math.inf
        if self.every_s is not None:
            into %= self.every_s
        return max(0.0, self.for_s - into)

    def __str__(self) -> str:
        return _as_flow(self) if self != Outage() else "{after_s: 0}"  # {} would read as no outage


@dataclass(frozen=True)
class LinkSettings:
    """The block ``link``: a simulated link between the edge and the cloud that really delays.

    A message of b bytes takes half of ``round_trip_ms``, more or less up to ``jitter_ms`` (uniform, as netem
    draws it), and b · 8 bits at ``megabits_per_s``, which ``up_megabits_per_s`` and ``down_megabits_per_s``
    replace for their directions; without a bandwidth its length costs nothing. ``loss`` is the chance of
    each packet to be lost: it is sent again. In an ``outage`` the sender waits ``patience_s``, then it gives
    up. ``seed`` chooses the jitter and the losses.
    """

    round_trip_ms: float = 0.0
    megabits_per_s: float | None = None
    up_megabits_per_s: float | None = None
    down_megabits_per_s: float | None = None
    jitter_ms: float = 0.0
    loss: float = 0.0
    outage: Outage | None = None
    patience_s: float = 0.0
    seed: int = 0

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        _within("round_trip_ms", self.round_trip_ms, 0, 1000 * MOST_S)
        for name in ("megabits_per_s", "up_megabits_per_s", "down_megabits_per_s"):
            _within(name, getattr(self, name), LEAST_MEGABITS, MOST_MEGABITS)
        if None not in (self.megabits_per_s, self.up_megabits_per_s, self.down_megabits_per_s):
            raise ValueError("megabits_per_s is not used: each direction has a bandwidth of its own")
        if not 0 <= self.jitter_ms <= self.round_trip_ms / 2:
            raise ValueError("jitter_ms must be 0 to half of round_trip_ms: nothing arrives before it left")
        if not 0 <= self.loss < 1:
            raise ValueError(f"loss must be 0 or more and below 1, not {self.loss:g}")
        _within("patience_s", self.patience_s, 0, MOST_S)
        if self.patience_s and self.outage is None:
            raise ValueError("patience_s is how long an outage is waited for, and there is no outage")
        if isinstance(self.outage, Mapping):
            object.__setattr__(self, "outage", Outage(**self.outage))

    @classmethod
    def of(cls, given: LinkSettings | Mapping[str, Any] | None) -> LinkSettings:
        """Return settings from what came through JSON. Raises ValueError for values out of their range."""
        return given if isinstance(given, LinkSettings) else cls(**(given or {}))

    def bits_per_s(self, direction: Direction) -> float:
        """Return the bandwidth of a direction; infinity without a limit."""
        own = self.up_megabits_per_s if direction == "up" else self.down_megabits_per_s
        chosen = own if own is not None else self.megabits_per_s
        return math.inf if chosen is None else 1e6 * chosen

    def one_way_s(self, n_bytes: float, direction: Direction) -> float:
        """Return the mean seconds of a message, without losses and outages."""
        return self.round_trip_ms / 2000 + 8 * n_bytes / self.bits_per_s(direction)

    def __str__(self) -> str:
        return _as_flow(self)


def _as_flow(block: Outage | LinkSettings) -> str:
    """Write what is not a default as YAML on one line."""
    own = {one.name: getattr(block, one.name) for one in fields(block)}
    given = {one.name: own[one.name] for one in fields(block) if own[one.name] != one.default}
    return "{" + ", ".join(f"{key}: {_number(value)}" for key, value in given.items()) + "}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


NO_DELAY = LinkSettings()
