"""The definition of a metric (name, unit, direction, formula), and a figure of it as in ``run.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.stats.intervals import Distribution, Interval, distribution, widened

_SAMPLE = ("n", "mean", "sd", "min", "max", "p50", "p90", "p95", "p99")
_OWN = frozenset(("unit", "higher_is_better", "formula", "value", "ci_low", "ci_high"))


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % bounds (None if there are too few samples for them) and what it rests on.

    ``value`` is the headline number. For a figure of many requests it is their mean, and ``sample`` sums them
    up. ``notes`` are further facts by name, such as the windows that drift was scored on.
    """

    unit: str
    higher_is_better: bool | None
    formula: str
    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    sample: Distribution | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def interval(self) -> Interval:
        """Return the number with its bounds."""
        return Interval(self.value, self.ci_low, self.ci_high)

    def within(self, most: float) -> bool:
        """Return whether all its numbers are numbers of at most this size."""
        of_sample = vars(self.sample).values() if self.sample else ()
        numbers = (self.value, self.ci_low, self.ci_high, *of_sample)
        return all(one is None or abs(one) <= most for one in numbers)

    def to_json(self) -> dict[str, Any]:
        """Return the figure as it is in ``run.json``."""
        head = {"unit": self.unit, "higher_is_better": self.higher_is_better, "formula": self.formula}
        bounds = {"ci_low": self.ci_low, "ci_high": self.ci_high}
        if self.sample is None:
            return {**head, "value": self.value, **bounds, **self.notes}
        return {**head, **vars(self.sample), **bounds}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Figure:
        """Read back what ``to_json`` writes. Raises KeyError and TypeError for anything else."""
        head = found["unit"], found["higher_is_better"], found["formula"]
        bounds = found["ci_low"], found["ci_high"]
        if "value" in found:
            notes = {key: found[key] for key in found if key not in _OWN}
            return cls(*head, found["value"], *bounds, notes=notes)
        low, high = bounds
        sample = Distribution(**{key: found[key] for key in _SAMPLE}, ci_low=low, ci_high=high)
        return cls(*head, sample.mean, *bounds, sample=sample)


Figures = dict[str, Figure | None]


@dataclass(frozen=True)
class Metric:
    """The only definition of a metric. ``better`` is None if neither direction is better by itself."""

    key: str
    unit: str
    better: Literal["lower", "higher"] | None
    formula: str
    description: str

    def scalar(self, value: float | Interval | None, **notes: object) -> Figure | None:
        """Make a figure of one number; None for a missing value, never 0."""
        if value is None:
            return None
        interval = value if isinstance(value, Interval) else Interval(value, None, None)
        return self._figure(interval, notes=notes)

    def distribution(self, samples: Sequence[float], spread: float = 0.0) -> Figure | None:
        """Make a figure of many samples; None if there are none.

        ``spread`` of processes (a half-width on the log scale) is added to the interval of the mean.
        """
        sample = distribution(samples)
        if sample is None:
            return None
        mean = widened(Interval(sample.mean, sample.ci_low, sample.ci_high), spread)
        return self._figure(mean, sample=sample)

    def _figure(self, interval: Interval, **more: Any) -> Figure:
        higher = None if self.better is None else self.better == "higher"
        return Figure(self.unit, higher, self.formula, interval.value, interval.low, interval.high, **more)


def value_of(figure: Figure | None) -> float | None:
    """Return the headline number, None for a missing figure."""
    return None if figure is None else float(figure.value)


def ratio_bounds(
    before: Figure | Interval | None, after: Figure | Interval | None, spread: float = 0.0
) -> tuple[float | None, float | None]:
    """Return the 95 % bounds of after ÷ before; None if a bound is missing or not above 0.

    On the log scale, the distance of a bound from the ratio is the distances of both sides and ``spread``,
    added in quadrature.
    """
    logs = [_logs(side.interval if isinstance(side, Figure) else side) for side in (before, after)]
    if logs[0] is None or logs[1] is None:
        return None, None
    (low_b, mid_b, high_b), (low_a, mid_a, high_a) = logs[0], logs[1]
    down = math.hypot(mid_a - low_a, high_b - mid_b, spread)
    up = math.hypot(high_a - mid_a, mid_b - low_b, spread)
    return math.exp(mid_a - mid_b - down), math.exp(mid_a - mid_b + up)


def _logs(interval: Interval | None) -> tuple[float, float, float] | None:
    """Return the logarithms of lower bound, value and upper bound; None if one is missing or not above 0."""
    if interval is None or interval.low is None or interval.high is None:
        return None
    if min(interval.low, interval.value, interval.high) <= 0:
        return None
    return math.log(interval.low), math.log(interval.value), math.log(interval.high)
