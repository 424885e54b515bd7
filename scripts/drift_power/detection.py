"""How often a suite finds a change, by the size of the change: a curve with one number, over all lines.

McNemar's test finds a change in which only losses occur if there are six of them. If n items are drawn of
which a share x is lost, the count is nearly Poisson, so the chance is P(Poisson(n·x) ≥ 6). Items that are
gained meanwhile make it smaller. The curve is P(Poisson(k·n·x) ≥ 6) with x = |lost − gained| ÷ n of what was
planted; k = 1 is a change that gains nothing. The likeliest k is taken from a grid, its interval from
lines that are drawn with replacement.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from bench.drift.behaviour import POWER
from bench.stats.intervals import CONFIDENCE, Interval
from bench.stats.proportions import ALPHA, mcnemar

NEEDED = next(count for count in range(1, 64) if mcnemar(count, 0) <= ALPHA)
GRID = [0.05 * 1.05**step for step in range(90)]  # of k, from 0.05 to 3.8
DRAWS = 200
LEAST_CHANCE = 0.003  # so that one odd line does not decide alone


class Point(NamedTuple):
    """The net change of one line, in items, and in which share of draws it is found."""

    items: float
    found: float


def chance(expected: float) -> float:
    """Return the chance of at least ``NEEDED`` losses, if so many are expected."""
    terms = (expected**count / math.factorial(count) for count in range(NEEDED))
    return 1 - math.exp(-expected) * math.fsum(terms)


def expected_for(power: float) -> float:
    """Return how many losses must be expected so that they are found with this probability."""
    low, high = 0.0, 64.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) < power else (low, middle)
    return high


def found_with_power(points: Sequence[Point], seed: str) -> Interval | None:
    """Return the net change in items that is found with 80 %; None if the lines are all found, or none is, so
    that they say nothing about it."""
    fits = [[_fit(point, k) for k in GRID] for point in points]
    if not any(point.found >= POWER for point in points) or not any(point.found < POWER for point in points):
        return None
    drawn, place = random.Random(seed), range(len(points))
    likeliest = sorted(_likeliest([fits[n] for n in drawn.choices(place, k=len(fits))]) for _ in range(DRAWS))
    tail = round(DRAWS * (1 - CONFIDENCE) / 2)
    needed = expected_for(POWER)
    return Interval(needed / _likeliest(fits), needed / likeliest[DRAWS - 1 - tail], needed / likeliest[tail])


def _fit(point: Point, k: float) -> float:
    """Return the mean log-likelihood of a line's draws."""
    likely = min(max(chance(k * point.items), LEAST_CHANCE), 1 - LEAST_CHANCE)
    return point.found * math.log(likely) + (1 - point.found) * math.log(1 - likely)


def _likeliest(fits: Sequence[Sequence[float]]) -> float:
    sums = [math.fsum(column) for column in zip(*fits, strict=True)]
    return GRID[sums.index(max(sums))]
