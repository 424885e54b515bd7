"""Choose the threshold of a cascade on one half of its items, and check its predictions on the other half."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats.cascade_curve import Item, Point, at, curve, pgr
from bench.stats.intervals import Interval, above_zero, t_quantile


def halves(items: Sequence[Item], seed: int = 0) -> tuple[list[Item], list[Item]]:
    """Split items at random into two halves: one to choose a threshold on, one to report it on."""
    dealt = list(items)
    random.Random(seed).shuffle(dealt)
    return dealt[: len(dealt) // 2], dealt[len(dealt) // 2 :]


def choose(items: Sequence[Item], share: float) -> Point | None:
    """Return the cheapest point that recovers ``share`` of the gap between the models; None without a gap."""
    points = curve(items)
    recovered = [(point, pgr(points, point.quality)) for point in points]
    enough = [point for point, part in recovered if part is not None and part >= share - 1e-9]
    return min(enough, key=lambda point: point.usd) if enough else None


@dataclass(frozen=True)
class Chosen:
    """Hold a threshold that was chosen on one half of the items, and what the other half then showed.

    ``promised_usd`` and ``promised_quality`` are prediction intervals for the mean of the other half, which
    has ``others`` items. ``held_out`` is what the other half measured.
    """

    limit: float
    escalated: float
    promised_usd: Interval
    promised_quality: Interval
    held_out: Point
    others: int

    @property
    def kept(self) -> tuple[bool, bool]:
        """Return whether the cost and the quality of the other half lie in their promised intervals."""
        return _inside(self.promised_usd, self.held_out.usd), _inside(
            self.promised_quality, self.held_out.quality
        )


def _inside(promised: Interval, value: float) -> bool:
    """Return whether an interval, which must have both bounds, contains a value."""
    assert promised.low is not None
    assert promised.high is not None
    return promised.low <= value <= promised.high


def chosen(items: Sequence[Item], share: float, seed: int = 0) -> Chosen | None:
    """Choose a threshold on one half and report it on the other.

    Returns None if a half has fewer than two items, or if the large model is not better on the first half.
    """
    chosen_on, held_out = halves(items, seed)
    if min(len(chosen_on), len(held_out)) < 2 or (point := choose(chosen_on, share)) is None:
        return None
    usd = [item.edge_usd + (item.cloud_usd if item.doubt > point.limit else 0.0) for item in chosen_on]
    right = [item.cloud if item.doubt > point.limit else item.edge for item in chosen_on]
    return Chosen(
        point.limit,
        point.escalated,
        promised(usd, len(held_out)),
        promised(right, len(held_out), binary=True),
        at(held_out, point.limit),
        len(held_out),
    )


def promised(values: Sequence[float], others: int, *, binary: bool = False) -> Interval:
    """Return the interval that contains the mean of ``others`` further values in 95 % of cases.

    It is mean ± t·s·√(1/n + 1/others), because both means vary. It stays above 0 if no value is negative, and
    for right and wrong answers (``binary``) between 0 and 1. Their variance is computed with two more right
    and two more wrong answers (Agresti and Coull 1998), so that it is not zero if all answers are alike.
    """
    n, mean = len(values), math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    if binary:
        share = (math.fsum(values) + 2) / (n + 4)
        variance = max(variance, share * (1 - share))
    half = t_quantile(n - 1) * math.sqrt(variance * (1 / n + 1 / others))
    if binary:
        return Interval(mean, max(mean - half, 0.0), min(mean + half, 1.0))
    interval = Interval(mean, mean - half, mean + half)
    return above_zero(interval) if min(values) >= 0 else interval
