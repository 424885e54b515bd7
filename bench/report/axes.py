"""Map values to pixels on linear and logarithmic axes, and choose ticks at numbers that are easy to read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.formatting import format_significant

MOST_TICKS = 9
LINEAR_TICKS = 5
# Sets of mantissas for the ticks, the densest first. The first set that gives few enough ticks is used.
MANTISSAS = (
    (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1,),
)


@dataclass(frozen=True)
class Tick:
    """A tick: its position in pixels and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class LogScale:
    """Maps ``low`` .. ``high`` logarithmically to pixels ``start`` .. ``end``, and clips values outside."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of ``value``; it is ``start`` for zero and less, which have no logarithm."""
        if value <= self.low:
            return self.start
        share = math.log(min(value, self.high) / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Return at most ``MOST_TICKS`` ticks between ``low`` and ``high``."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values: list[float] = []
        for mantissas in MANTISSAS:
            values = [m * 10.0**decade for decade in decades for m in mantissas]
            values = [value for value in values if self.low <= value <= self.high]
            if len(values) <= MOST_TICKS:
                break
        thinned = values[:: math.ceil(len(values) / MOST_TICKS) or 1]
        return tuple(Tick(self.at(value), _spelled(value)) for value in thinned)

    def decades(self) -> tuple[Tick, ...]:
        """Return a tick for each power of ten; the lowest has a ≤, because smaller values lie on it."""
        powers = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
        ticks = [Tick(self.at(10.0**power), _spelled(10.0**power)) for power in powers]
        return (Tick(ticks[0].at, f"≤ {ticks[0].text}"), *ticks[1:])


def _spelled(value: float) -> str:
    """Write a number without an exponent, unless it is very small or very large."""
    if 1e-6 <= value < 1e6:
        return f"{value:.8f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"


@dataclass(frozen=True)
class LinearScale:
    """Maps ``low`` .. ``high`` linearly to pixels ``start`` .. ``end``, and clips values outside."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of ``value``."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Return ticks at equal distances, including both ends."""
        values = [
            self.low + step * (self.high - self.low) / (LINEAR_TICKS - 1) for step in range(LINEAR_TICKS)
        ]
        return tuple(Tick(self.at(value), format_significant(value)) for value in values)


def with_room(
    values: Sequence[float], start: float, end: float, least: float = -math.inf, most: float = math.inf
) -> LinearScale:
    """Return a scale for all values with a margin at both ends, but never beyond ``least`` and ``most``."""
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return LinearScale(max(low - room, least), min(high + room, most), start, end)
