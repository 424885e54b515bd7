"""Logarithmic axes: values to pixels, and ticks at numbers that people read easily."""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_TICKS = 9
# Mantissas of the ticks, the closest spaced first; the first family with few enough ticks is taken.
MANTISSAS = (
    (1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9, 9.5),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 5),
    (1,),
)


@dataclass(frozen=True)
class Tick:
    """A tick at ``at`` pixels and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class LogScale:
    """Maps ``low`` .. ``high`` onto pixels ``start`` .. ``end``; what is outside lands on the nearer end."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of ``value``; zero and less have no logarithm and land on ``start``."""
        if value <= self.low:
            return self.start
        share = math.log(min(value, self.high) / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """At most ``MOST_TICKS``, inside the scale."""
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
        """One tick a power of ten; the lowest says that it holds everything below it too."""
        powers = range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)
        ticks = [Tick(self.at(10.0**power), _spelled(10.0**power)) for power in powers]
        return (Tick(ticks[0].at, f"≤ {ticks[0].text}"), *ticks[1:])


def _spelled(value: float) -> str:
    """Without an exponent where a person would write none."""
    if 1e-6 <= value < 1e6:
        return f"{value:.8f}".rstrip("0").rstrip(".")
    return f"{value:.3g}"
