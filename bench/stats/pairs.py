"""The ratio of two costs from a few fresh pairs of processes: interval, and p-value of "no difference".

The unit is a pair. What a process gets at its start (layout, allocator, its place in memory) stays with it
for its life, so the requests of one process all share its luck, and their mean does not average it out. From
three or four pairs their spread is known badly: Student's t would double the interval of an ordinary row. The
spread over many rows is known well, though, and serves as a prior: over rows, the standard deviation of a
pair's log ratio is log-normal, with a centre and a width that were measured (docs/decisions/0012). With the
prior, three pairs that happen to agree do not count as no spread at all, and a row whose pairs lie far apart
soon outweighs the prior and gets the wide interval that it needs. Source: a hierarchical normal model with a
prior on the standard deviation (Gelman 2006, Bayesian Analysis 1:515), integrated over a grid.

There are two priors. If a row runs the same kernels as its baseline, what slows one of them slows the other
too. Kernels of another kind do not share this: one may be bound by arithmetic and the other by memory, and
then their ratio changes with the machine from minute to minute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from bench.stats.intervals import CONFIDENCE, Interval


@dataclass(frozen=True)
class Prior:
    """The distribution of a pair's standard deviation over rows: its median, and the sd of its logarithm."""

    median: float
    log_sd: float


SAME_KERNELS, OTHER_KERNELS = Prior(0.012, 0.6), Prior(0.03, 0.7)
# Of pairs whose processes run one after the other: not measured but guessed, and wide on purpose (0020).
APART_IN_TIME = Prior(0.05, 0.7)
# Servers under load in alternating blocks. Two equal stubs in 33 rows of four pairs, on a busy 2-core
# machine, had pair sds of 0.029 (width 0.6) for dollars and TPOT, the prior of other kernels, and of 0.17
# (width 0.6) for a time to the first token of 10 ms (docs/decisions/0021).
FIRST_TOKEN = Prior(0.17, 0.8)
# Verbs of steps after which a layer still runs the kernel that it ran before.
KERNELS_STAY = ("prune", "distil")
# The chance that a table in which nothing differs calls any of its rows better or worse.
FAMILY_ERROR = 0.02
LEAST_PAIRS = 2  # fewer do not show how far pairs lie apart
# The grid over the prior, in standard deviations of its logarithm. It ends at a pair's sd of 0.8 (same
# kernels) or 4 (other kernels): an end at 0.2 would cap the spread of pairs far apart, and their interval.
_FROM, _STEP, _POINTS = -3.5, 7 / 60, 91


@dataclass(frozen=True)
class PairRatio:
    """Σ variant ÷ Σ baseline over all pairs, with 95 % bounds.

    ``sd`` is the standard deviation of a pair's log ratio as measured (None for a single pair). ``p`` is how
    likely a ratio so far from 1 is if nothing differs.
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

    The ratio is multiplied by ``factor``, which is known exactly (a price, tokens). Deviations are those of a
    ratio of sums by linearisation, ``(bᵢ − r·aᵢ)/(r·ā)`` (Cochran 1977, eq. 6.9), on the log scale. Raises
    ValueError without a pair.
    """
    n, below = len(baseline), math.fsum(baseline)
    if not n:
        raise ValueError("a ratio needs one pair of processes at least")
    ratio = math.fsum(variant) / below
    squares = math.fsum((b - ratio * a) ** 2 for a, b in zip(baseline, variant, strict=True))
    squares /= (ratio * below / n) ** 2
    scales, ratio = _posterior(n, squares, prior), ratio * factor
    half = _half_width(scales)
    sd = math.sqrt(squares / (n - 1)) if n > 1 else None
    p = _outside(scales, abs(math.log(ratio)))
    return PairRatio(ratio, ratio * math.exp(-half), ratio * math.exp(half), n, sd, p)


Scales = tuple[tuple[float, float, float], ...]


@cache
def _posterior(n: int, squares: float, prior: Prior) -> Scales:
    """Return (standard error of the mean of ``n`` pairs, the same times √2, its weight).

    The weight is prior times likelihood of the sd.
    """
    grid = []  # (standard deviation, logarithm of its weight)
    for point in range(_POINTS):
        z = _FROM + _STEP * point
        sd = prior.median * math.exp(prior.log_sd * z)
        grid.append((sd, -z * z / 2 - (n - 1) * math.log(sd) - squares / (2 * sd * sd)))
    top = max(log_weight for _sd, log_weight in grid)
    weights = [math.exp(log_weight - top) for _sd, log_weight in grid]
    total = math.fsum(weights)
    errors = [sd / math.sqrt(n) for sd, _log_weight in grid]
    return tuple((e, e * math.sqrt(2), w / total) for e, w in zip(errors, weights, strict=True))


def _outside(scales: Scales, distance: float) -> float:
    """Return the probability that the mean is further than ``distance`` from the truth, on either side."""
    erfc = math.erfc  # called some thousand times for each ratio
    return math.fsum([weight * erfc(distance / scale) for _error, scale, weight in scales])


@cache
def _half_width(scales: Scales) -> float:
    """Find the distance at which ``_outside`` is 5 %, by bisection."""
    low, high = 0.0, 10 * max(error for error, _scale, _weight in scales)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _outside(scales, middle) > 1 - CONFIDENCE else (low, middle)
    return high


@dataclass(frozen=True)
class Kernels:
    """What decides which kernels an arm runs.

    ``runtime`` is engine, dtype and threads (anything that can be compared), ``packed_by`` is what quantised
    the checkpoint before it was loaded, and ``steps`` are the arm's steps (``verb scheme``).
    """

    runtime: object
    packed_by: object
    steps: Sequence[str]

    def like(self, other: Kernels) -> bool:
        """Return whether both run the same kernels."""
        changing = [
            [step for step in kernels.steps if step.partition(" ")[0] not in KERNELS_STAY]
            for kernels in (self, other)
        ]
        return (self.runtime, self.packed_by, changing[0]) == (other.runtime, other.packed_by, changing[1])


def prior_of(variant: Kernels, baseline: Kernels, *, apart: bool = False) -> Prior:
    """Return the prior for the pairs of a row; with ``apart`` their processes did not run in turns."""
    if apart:
        return APART_IN_TIME
    return SAME_KERNELS if variant.like(baseline) else OTHER_KERNELS


def told_apart(p_values: Sequence[float], family_error: float = FAMILY_ERROR) -> list[bool]:
    """Decide for each row of a table whether it differs, by Holm's step-down rule (Holm 1979).

    If nothing differs, the chance that any row is said to differ is at most ``family_error``.
    """
    differs = [False] * len(p_values)
    ordered = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, row in enumerate(ordered):
        if p_values[row] > family_error / (len(p_values) - place):
            break
        differs[row] = True
    return differs
