"""Test timed limits by an anytime-valid test of paired differences, and compute its confidence sequence.

The data are one number for each *unit*, a pair of freshly started workers: ``d = log(Σcost_B / Σcost_A)``,
where A is the baseline and B the variant. Two workers of identical code are exchangeable, so ``d`` is then
symmetric about 0, whatever drift, bursts or autocorrelation there was inside the unit. The test assumes
nothing else.

If ``x`` is symmetric about 0, ``1 + w·tanh(c·x/s)`` has mean 1 for every scale ``s`` that is fixed before
``x`` is known; if ``x`` is shifted down, the mean is at most 1. ``w``, the *stake*, is 0.9: with all of it
staked, one disturbed unit that points the wrong way takes away what a dozen others have shown
(docs/decisions/0026). The products over units, and their mean over several ``c``, are therefore non-negative
supermartingales. By Ville's inequality (Ville 1939) the chance that such a process *ever* reaches ``1/α`` is
at most ``α``. So the error rate holds even if we look after every unit, stop early, or continue later.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from bench.gate import DEFAULT_CAP

CONFIDENCE = 0.99
BETS = (0.25, 0.5, 1.0, 2.0, 4.0)  # the values of c
STAKE = 0.9  # the share of the evidence that one unit can take away
WHOLE_STAKE = 1.0  # the stake of gates before 29 November 2026, whose journals do not name it
PRIOR_UNITS = 3  # the first units use ``Test.prior_sd`` as their scale
SCALE_FLOOR = 0.001  # the smallest scale, on the log scale of d
MAD_TO_SD = 1.4826  # the sd of a normal distribution with a median absolute deviation of 1
BISECTIONS = 40
ROUNDING = 1 - 1e-9  # the fast evidence may be too small by rounding; near a threshold the exact one decides
MOST_TIED = 8  # the most numbers of units that are bisected one by one; nearly always only one is needed
FARTHEST = 6.0  # the widest bound, on the log scale: a factor of 400 either way


@dataclass(frozen=True)
class Test:
    """Hold the settings of the test of one limit, which are fixed before the first unit.

    ``margin`` and ``prior_sd`` are on the log scale. ``alpha_fail`` and ``alpha_pass`` are the error rates of
    FAIL and PASS, divided over ``cells`` tests. ``least`` and ``cap`` are the fewest and the most units.
    Raises ValueError for a ``stake`` that is not above 0 and at most 1.
    """

    margin: float
    alpha_fail: float = 0.005
    alpha_pass: float = 0.02
    cells: int = 1
    least: int = 6
    cap: int = DEFAULT_CAP
    prior_sd: float = 0.02
    stake: float = STAKE

    def __post_init__(self) -> None:
        if not 0 < self.stake <= WHOLE_STAKE:
            raise ValueError(f"a stake is above 0 and at most 1, not {self.stake}")


@dataclass(frozen=True)
class Decision:
    """Hold the state of a test: ``verdict`` is None until it is decided, after ``at`` units."""

    verdict: str | None
    at: int
    evidence_fail: float
    evidence_pass: float


def scales(differences: Sequence[float], prior_sd: float) -> list[float]:
    """Return the scale ``s`` of each unit, which depends only on earlier units.

    It is ``prior_sd`` for the first three units, and then the standard deviation of the earlier units,
    estimated by their median absolute deviation.
    """
    scale: list[float] = []
    before: list[float] = []
    for index, difference in enumerate(differences):
        if index < PRIOR_UNITS:
            scale.append(prior_sd)
        else:
            centre = _middle(before)
            spread = _middle(sorted(abs(d - centre) for d in before))
            scale.append(max(MAD_TO_SD * spread, SCALE_FLOOR))
        insort(before, difference)
    return scale


def _middle(ordered: Sequence[float]) -> float:
    """Return the median of sorted numbers."""
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2


def evidence(shifted: Sequence[float], scale: Sequence[float], stake: float = STAKE) -> float:
    """Return the evidence that ``x`` tends to be above 0: the mean over c of ``Π (1 + w·tanh(c·xᵢ/sᵢ))``."""
    both = list(zip(shifted, scale, strict=True))
    logs = [math.fsum(_log_factor(c * x / s, stake) for x, s in both) - math.log(len(BETS)) for c in BETS]
    return math.fsum(math.exp(min(log, 700.0)) for log in logs)


def _log_factor(z: float, stake: float) -> float:
    """Return ``log(1 + stake·tanh z)``, also for a whole stake and ``z`` so small that tanh rounds to −1."""
    if stake == WHOLE_STAKE and z < -15:
        return max(2 * z + math.log(2), -700.0)
    return math.log1p(stake * math.tanh(z))


def least_cap(cells: int) -> int:
    """Return the smallest cap with which one of ``cells`` timed limits can FAIL.

    FAIL needs evidence of ``cells / alpha_fail``, and each unit multiplies it by at most 1 + stake.
    """
    return math.ceil(math.log(cells / Test.alpha_fail) / math.log1p(STAKE))


def decide(differences: Sequence[float], test: Test) -> Decision:
    """Return the verdict after the first unit whose evidence is enough; later units do not change it.

    PASS means that the increase is proven to be within the margin. FAIL means that an increase is proven,
    while it is not proven to be within the margin.
    """
    counted = differences[: test.cap]
    scale = scales(counted, test.prior_sd)
    passes = [test.margin - d for d in counted]
    to_pass, to_fail = test.cells / test.alpha_pass, test.cells / test.alpha_fail
    running = zip(_running(passes, scale, test.stake), _running(counted, scale, test.stake), strict=True)
    for n, (for_pass, for_fail) in enumerate(running, start=1):
        if n < test.least or (for_pass < ROUNDING * to_pass and for_fail < ROUNDING * to_fail):
            continue
        in_favour, against = (evidence(x[:n], scale[:n], test.stake) for x in (passes, counted))
        if in_favour >= to_pass:
            return Decision("PASS", n, against, in_favour)
        if against >= to_fail:
            return Decision("FAIL", n, against, in_favour)
    if not counted:
        return Decision(None, 0, 1.0, 1.0)
    against, in_favour = (evidence(x, scale, test.stake) for x in (counted, passes))
    return Decision(None, len(counted), against, in_favour)


def _running(shifted: Sequence[float], scale: Sequence[float], stake: float) -> list[float]:
    """Return the evidence after each unit, in time linear in the number of units.

    Entry n is ``evidence`` of the first n + 1 units, except for rounding.
    """
    import numpy as np

    bets = np.multiply.outer(BETS, np.divide(shifted, scale))
    factors = np.maximum(2 * np.minimum(bets, 0.0) + math.log(2), -700.0)  # where tanh rounds to −1
    near = (bets >= -15) | (stake < WHOLE_STAKE)
    factors[near] = np.log1p(stake * np.tanh(bets[near]))
    logs = np.cumsum(factors, axis=1) - math.log(len(BETS))
    wealth: list[float] = np.exp(np.minimum(logs, 700.0)).sum(axis=0).tolist()
    return wealth


def confidence_sequence(
    differences: Sequence[float],
    prior_sd: float = 0.02,
    alpha: float = 1 - CONFIDENCE,
    stake: float = STAKE,
) -> tuple[float, float]:
    """Return bounds on the true log ratio that hold after every unit at once, with probability ``1 − α``.

    A value is inside the bounds if neither one-sided test of it, each at ``α/2``, has rejected it after any
    number of units. So this inverts the tests above and intersects the intervals after each unit.
    """
    scale = scales(differences, prior_sd)
    low = _lower(differences, scale, alpha / 2, stake)
    return low, min(FARTHEST, -_lower([-d for d in differences], scale, alpha / 2, stake))


def _lower(differences: Sequence[float], scale: Sequence[float], alpha: float, stake: float) -> float:
    """Return the largest value for which the test of "the truth is at most this" rejects after any unit.

    The evidence falls as the value grows. So one bisection over all numbers of units at once finds the value,
    in time linear in the number of units. Then each number of units that rejects there is bisected on its
    own. Until 27 November 2026 all of them were computed in this way, so stored figures stay the same to the
    last bit.
    """
    if len(differences) * math.log1p(stake) < math.log(1 / alpha):
        return -FARTHEST
    low, high = -FARTHEST, max(*differences, -FARTHEST)
    step = (high - low) / 2**BISECTIONS
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if max(_running([d - middle for d in differences], scale, stake)) >= 1 / alpha:
            low = middle
        else:
            high = middle
    just_below = low - 2 * step
    there = _running([d - just_below for d in differences], scale, stake)
    rejecting = [n for n, wealth in enumerate(there, start=1) if wealth >= 1 / alpha]
    best = sorted(rejecting, key=lambda n: there[n - 1], reverse=True)[:MOST_TIED]
    bounds = [_lower_of(differences[:n], scale[:n], alpha, low, step, stake) for n in best]
    return max(bounds, default=-FARTHEST)


def _lower_of(
    differences: Sequence[float],
    scale: Sequence[float],
    alpha: float,
    near: float,
    step: float,
    stake: float,
) -> float:
    """Return the largest value that the test rejects after exactly these units.

    The value lies within a few steps of ``near``, so the evidence is computed only there.
    """
    low, high = -FARTHEST, max(differences)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        shifted = [d - middle for d in differences]
        if middle > near + 4 * step:
            high = middle
        elif middle < near - 4 * step or evidence(shifted, scale, stake) >= 1 / alpha:
            low = middle
        else:
            high = middle
    return low
