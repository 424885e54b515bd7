"""Estimate the ratio of two costs from a few fresh pairs of processes: its interval and its p-value.

The unit is a pair of processes. A process keeps the memory layout that it got at its start, and this makes
all its requests a little faster or slower, so more requests do not average it out. Only more pairs do.

Three or four pairs say little about their spread, and Student's t would double the interval of an ordinary
row. But the spread over many rows is known well, and it serves as a prior: over rows, the standard deviation
of a pair's log ratio is log-normal, with a measured median and width (docs/decisions/0012). With this prior,
three pairs that happen to agree do not give an interval of nearly no width, and a row whose pairs lie far
apart soon outweighs the prior and gets a wide interval. The model is a hierarchical normal model with a
prior on the standard deviation (Gelman 2006, Bayesian Analysis 1:515), integrated over a grid.

There are two measured priors. If a row runs the same kernels as its baseline, whatever slows one of them
slows the other too. Other kernels may be limited by arithmetic where the baseline's are limited by memory,
and then the ratio changes from minute to minute with the load of the machine.

A few kernels also change from hour to hour, which no pair of a run can show. What is known of this from
repeated runs is added to the interval (docs/decisions/0025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from bench.stats.intervals import CONFIDENCE, Interval


@dataclass(frozen=True)
class Prior:
    """Describe the log-normal prior of a pair's standard deviation: its median, and the sd of its log.

    ``between_runs`` is the standard deviation of the log ratio between runs, beyond what their pairs show.
    ``counted`` is a part of a pair's standard deviation that is known beforehand, beside the part that the
    prior describes: the chance in the counts of a pair.
    """

    median: float
    log_sd: float
    between_runs: float = 0.0
    counted: float = 0.0


SAME_KERNELS, OTHER_KERNELS = Prior(0.012, 0.6), Prior(0.03, 0.7)
# For pairs whose processes run one after the other. It was guessed, not measured, and is wide on purpose
# (docs/decisions/0020).
APART_IN_TIME = Prior(0.05, 0.7)
# For the time to the first token of servers under load in alternating blocks. Two equal stub servers, in 33
# rows of four pairs on a busy 2-core machine, had pair sds of 0.17 (log sd 0.6) for a time of 10 ms. For
# dollars and TPOT they had 0.029 (log sd 0.6), so these use OTHER_KERNELS (docs/decisions/0021).
FIRST_TOKEN = Prior(0.17, 0.8)
# After a step of these verbs, a layer still runs the same kernel as before.
KERNELS_STAY = ("prune", "distil")
LEAST_PAIRS = 2  # one pair does not show how far pairs lie apart
# The grid over the prior, in standard deviations of its logarithm: start, step, number of points. It ends at
# a pair's sd of 0.8 (same kernels) or 4 (other kernels). A grid that ended at 0.2 would give too narrow an
# interval to pairs that lie far apart.
_FROM, _STEP, _POINTS = -3.5, 7 / 60, 91
_CLOSE = 1e-12  # far more than what roundings move the end of an interval by, as a share of its half width


@dataclass(frozen=True)
class PairRatio:
    """Hold Σ variant ÷ Σ baseline over all pairs, with its 95 % bounds.

    ``sd`` is the measured standard deviation of a pair's log ratio (None for a single pair). ``p`` is the
    probability of a ratio at least as far from 1 if the two sides do not differ.
    """

    value: float
    low: float
    high: float
    pairs: int
    sd: float | None
    p: float

    @property
    def interval(self) -> Interval:
        """Return the ratio and its bounds."""
        return Interval(self.value, self.low, self.high)


def pair_ratio(
    variant: Sequence[float], baseline: Sequence[float], prior: Prior, factor: float = 1.0
) -> PairRatio:
    """Estimate the ratio from each pair's two sums (any unit, the same on both sides).

    The ratio is multiplied by ``factor``, an exactly known ratio of prices or tokens. The deviation of pair i
    is ``(bᵢ − r·aᵢ)/(r·ā)``, the linearised log deviation of a ratio of sums (Cochran 1977, eq. 6.9). Raises
    ValueError without a pair.
    """
    n, below = len(baseline), math.fsum(baseline)
    if not n:
        raise ValueError("a ratio needs one pair of processes at least")
    ratio = math.fsum(variant) / below
    squares = math.fsum((b - ratio * a) ** 2 for a, b in zip(baseline, variant, strict=True))
    squares /= (ratio * below / n) ** 2
    return _estimated(n, squares, prior, ratio * factor)


Quotient = tuple[float, float]  # a sum and what it is divided by: seconds and requests, say


def pooled_ratio(
    variant: Sequence[Quotient], baseline: Sequence[Quotient], prior: Prior, factor: float = 1.0
) -> PairRatio:
    """Estimate the ratio of two quotients, each of them of sums over all pairs.

    Each entry is what one side of a pair has above and below the line, such as seconds and good requests. So
    every request has the same weight, and a pair in which a side has nothing below the line counts too. The
    deviation of pair i is linearised like that of ``pair_ratio``, with the share that the pair has in each of
    the four sums. Raises ValueError if one of these sums is not above 0.
    """
    n = len(baseline)
    columns = [[entry[place] for entry in side] for side in (variant, baseline) for place in (0, 1)]
    sums = [math.fsum(column) for column in columns]
    if not all(total > 0 for total in sums):
        raise ValueError("a ratio needs something above and below the line on both sides")
    shares = ([x / total for x in column] for column, total in zip(columns, sums, strict=True))
    squares = math.fsum((n * ((a - b) - (c - d))) ** 2 for a, b, c, d in zip(*shares, strict=True))
    return _estimated(n, squares, prior, sums[0] / sums[1] / (sums[2] / sums[3]) * factor)


def _estimated(n: int, squares: float, prior: Prior, ratio: float) -> PairRatio:
    """Return the ratio with its bounds, from the sum of the squared deviations of ``n`` pairs."""
    scales = _posterior(n, squares, prior)
    half = _half_width(scales)
    sd = math.sqrt(squares / (n - 1)) if n > 1 else None
    p = _outside(scales, abs(math.log(ratio)))
    return PairRatio(ratio, ratio * math.exp(-half), ratio * math.exp(half), n, sd, p)


Scales = tuple[tuple[float, float, float], ...]


@cache
def _posterior(n: int, squares: float, prior: Prior) -> Scales:
    """Return (standard error of ``n`` pairs' ratio, the same times √2, weight) for each sd of the grid.

    ``squares`` is the sum of the squared deviations of the pairs. The weight of an sd is its prior times its
    likelihood, and all weights sum to 1.
    """
    grid = _grid(prior)
    log_weights = [before - (n - 1) * log - squares / (2 * sd * sd) for sd, log, before in grid]
    top = max(log_weights)
    weights = [math.exp(log_weight - top) for log_weight in log_weights]
    total = math.fsum(weights)
    errors = [math.hypot(sd / math.sqrt(n), prior.between_runs) for sd, _log, _before in grid]
    return tuple((e, e * math.sqrt(2), w / total) for e, w in zip(errors, weights, strict=True))


@cache
def _grid(prior: Prior) -> tuple[tuple[float, float, float], ...]:
    """Return (standard deviation, its logarithm, logarithm of its weight in the prior) for each point."""
    places = [_FROM + _STEP * point for point in range(_POINTS)]
    return tuple(
        (sd, math.log(sd), -z * z / 2)
        for z in places
        for sd in [math.hypot(prior.median * math.exp(prior.log_sd * z), prior.counted)]
    )


def _outside(scales: Scales, distance: float) -> float:
    """Return the probability that the mean lies further than ``distance`` from the truth, on either side."""
    erfc = math.erfc  # a local name is faster; it is called some thousand times per ratio
    return math.fsum([weight * erfc(distance / scale) for _error, scale, weight in scales])


@cache
def _half_width(scales: Scales) -> float:
    """Find the distance at which ``_outside`` is 5 %, by bisection.

    Newton's method says where it is, so ``_outside`` is computed for the last steps alone.
    """
    low, high = 0.0, 10 * max(error for error, _scale, _weight in scales)
    near = _newton(scales)
    for _ in range(60):
        middle = (low + high) / 2
        if abs(middle - near) > _CLOSE * near:
            inside = middle < near
        else:
            inside = _outside(scales, middle) > 1 - CONFIDENCE
        low, high = (middle, high) if inside else (low, middle)
    return high


def _newton(scales: Scales) -> float:
    """Return the distance at which ``_outside`` is 5 %, to some roundings.

    ``_outside`` is convex, so the steps from 0 come nearer from below and never go too far.
    """
    erfc, exp = math.erfc, math.exp
    distance, step = 0.0, math.inf
    while step > _CLOSE / 100 * distance:
        ratios = [(distance / scale, scale, weight) for _error, scale, weight in scales]
        above = math.fsum([weight * erfc(x) for x, _scale, weight in ratios]) - (1 - CONFIDENCE)
        step = above / math.fsum([weight / scale * exp(-x * x) for x, scale, weight in ratios])
        step *= math.sqrt(math.pi) / 2
        distance += step
    return distance


@dataclass(frozen=True)
class Kernels:
    """Describe what decides which kernels an arm runs.

    ``runtime`` is engine, dtype and threads, as any value that can be compared. ``packed_by`` names what
    quantised the checkpoint before it was loaded. ``steps`` are the arm's steps, each ``verb scheme``.
    ``between_runs`` is the standard deviation of their log time between runs, beyond what pairs show.
    """

    runtime: object
    packed_by: object
    steps: Sequence[str]
    between_runs: float = 0.0

    def like(self, other: Kernels) -> bool:
        """Return whether both run the same kernels."""
        changing = [
            [step for step in kernels.steps if step.partition(" ")[0] not in KERNELS_STAY]
            for kernels in (self, other)
        ]
        return (self.runtime, self.packed_by, changing[0]) == (other.runtime, other.packed_by, changing[1])


def prior_of(variant: Kernels, baseline: Kernels, *, apart: bool = False) -> Prior:
    """Return the prior for the pairs of a row; ``apart`` says that their processes did not run in turns."""
    alike = variant.like(baseline)
    prior = APART_IN_TIME if apart else SAME_KERNELS if alike else OTHER_KERNELS
    between_runs = 0.0 if alike else math.hypot(variant.between_runs, baseline.between_runs)
    return replace(prior, between_runs=between_runs)
