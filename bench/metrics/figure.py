"""One definition of a figure: its name, unit, direction and formula, spelled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bench.stats.intervals import Interval, distribution, widened

Figures = dict[str, dict[str, Any] | None]


@dataclass(frozen=True)
class Metric:
    """A metric's one definition. ``better`` is None where neither direction is better by itself."""

    key: str
    unit: str
    better: Literal["lower", "higher"] | None
    formula: str
    description: str

    def _head(self) -> dict[str, Any]:
        higher = None if self.better is None else self.better == "higher"
        return {"unit": self.unit, "higher_is_better": higher, "formula": self.formula}

    def scalar(self, value: float | Interval | None, **notes: object) -> dict[str, Any] | None:
        """The figure as it stands in ``run.json``; None for a missing value, never 0."""
        if value is None:
            return None
        found = value if isinstance(value, Interval) else Interval(value, None, None)
        return {**self._head(), "value": found.value, "ci_low": found.low, "ci_high": found.high, **notes}

    def distribution(self, samples: Sequence[float], spread: float = 0.0) -> dict[str, Any] | None:
        """The sample's summary as it stands in ``run.json``; None for an empty sample. ``spread`` between
        processes (log scale) is added to the interval of the mean."""
        found = distribution(samples)
        if found is None:
            return None
        mean = widened(Interval(found.mean, found.ci_low, found.ci_high), spread)
        return {**self._head(), **asdict(found), "ci_low": mean.low, "ci_high": mean.high}


def value_of(figure: Mapping[str, Any] | None) -> float | None:
    """The headline number: a scalar's value, a distribution's mean."""
    if figure is None:
        return None
    number = figure.get("value", figure.get("mean"))
    return None if number is None else float(number)
