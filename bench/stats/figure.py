"""Define a metric (name, unit, direction, formula), and a figure of it as it stands in ``run.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.records.json_form import Json
from bench.stats.intervals import Distribution, Interval, distribution, widened

_SAMPLE = ("n", "mean", "sd", "min", "max", "p50", "p90", "p95", "p99")
_OWN = frozenset(("unit", "higher_is_better", "formula", "value", "ci_low", "ci_high"))


@dataclass(frozen=True)
class Figure:
    """Hold a number with its 95 % bounds (None if there are too few samples for them) and its metric.

    ``value`` is the number that tables show. If it is the mean of many requests, ``sample`` has their
    distribution. ``notes`` has further facts by name, such as the number of windows that drift was scored on.
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

    def to_json(self) -> Json:
        """Return the figure as JSON for ``run.json``."""
        head = {"unit": self.unit, "higher_is_better": self.higher_is_better, "formula": self.formula}
        bounds = {"ci_low": self.ci_low, "ci_high": self.ci_high}
        if self.sample is None:
            return {**head, "value": self.value, **bounds, **self.notes}
        return {**head, **vars(self.sample), **bounds}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Figure:
        """Read back what ``to_json`` writes. Raises KeyError and TypeError for anything else."""
        head = stored["unit"], stored["higher_is_better"], stored["formula"]
        bounds = stored["ci_low"], stored["ci_high"]
        if "value" in stored:
            notes = {key: stored[key] for key in stored if key not in _OWN}
            return cls(*head, stored["value"], *bounds, notes=notes)
        low, high = bounds
        sample = Distribution(**{key: stored[key] for key in _SAMPLE}, ci_low=low, ci_high=high)
        return cls(*head, sample.mean, *bounds, sample=sample)


Figures = dict[str, Figure | None]


LARGER = "larger than any figure that is kept"  # how a result begins to name them


def too_large(figures: Figures, most: float) -> list[str]:
    """Return the keys of the figures that have a number beyond ``most``, or that is no number."""
    return [key for key, figure in figures.items() if figure is not None and not figure.within(most)]


def kept(figures: Figures, most: float) -> Figures:
    """Return the figures with None in the place of those that are too large: no reader would take them."""
    lost = too_large(figures, most)
    return {key: None if key in lost else figure for key, figure in figures.items()}


Range = tuple[float, float]
NOT_NEGATIVE: Range = (0.0, math.inf)
SHARE: Range = (0.0, 1.0)
DIFFERENCE: Range = (-1.0, 1.0)  # of two shares or probabilities; and what a cosine or a correlation may be
ANY_NUMBER: Range = (-math.inf, math.inf)


@dataclass(frozen=True)
class Metric:
    """Define a metric once for the whole program.

    ``better`` is None if neither direction is better by itself. ``range`` is what its figures may be: a limit
    beyond it would forbid everything or nothing.
    """

    key: str
    unit: str
    better: Literal["lower", "higher"] | None
    formula: str
    description: str
    range: Range = NOT_NEGATIVE

    def scalar(self, value: float | Interval | None, **notes: object) -> Figure | None:
        """Make a figure from one number; a missing value gives None, never 0."""
        if value is None:
            return None
        interval = value if isinstance(value, Interval) else Interval(value, None, None)
        return self._figure(interval, notes=notes)

    def distribution(self, samples: Sequence[float], spread: float = 0.0) -> Figure | None:
        """Make a figure from many samples; None if there are none.

        ``spread`` widens the interval of the mean: it is the half-width (log scale) by which processes of the
        same code differ.
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
    """Return the number of a figure, or None for a missing figure."""
    return None if figure is None else float(figure.value)


def ratio_bounds(
    before: Figure | Interval | None, after: Figure | Interval | None, spread: float = 0.0
) -> tuple[float | None, float | None]:
    """Return the 95 % bounds of after ÷ before; (None, None) if a bound is missing or not above 0.

    Both sides are independent. So on the log scale, the distance of each bound from the ratio is the root of
    the sum of three squares: the distances of the two sides' bounds from their values, and ``spread``.
    """
    logs = [_logs(side.interval if isinstance(side, Figure) else side) for side in (before, after)]
    if logs[0] is None or logs[1] is None:
        return None, None
    (low_b, mid_b, high_b), (low_a, mid_a, high_a) = logs[0], logs[1]
    down = math.hypot(mid_a - low_a, high_b - mid_b, spread)
    up = math.hypot(high_a - mid_a, mid_b - low_b, spread)
    return math.exp(mid_a - mid_b - down), math.exp(mid_a - mid_b + up)


def _logs(interval: Interval | None) -> tuple[float, float, float] | None:
    """Return the logarithms of lower bound, value and upper bound; None if any is missing or not above 0."""
    if interval is None or interval.low is None or interval.high is None:
        return None
    if min(interval.low, interval.value, interval.high) <= 0:
        return None
    return math.log(interval.low), math.log(interval.value), math.log(interval.high)
