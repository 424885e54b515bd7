"""The test of timed limits: an anytime-valid test of paired differences, and its confidence sequence.

The data are one number for each *unit*, a pair of freshly started workers: ``d = log(Σcost_B / Σcost_A)``.
Two workers of identical code are exchangeable, so ``d`` is then symmetric about 0, whatever drift, bursts or
autocorrelation there was inside the unit. Nothing else is assumed.

For ``x`` symmetric about 0, ``1 + κ·tanh(c·x/s)`` has mean 1 for every scale ``s`` that is fixed before ``x``
is seen; for ``x`` shifted down the mean is at most 1. The products over units, and their mean over several
``c``, are therefore non-negative supermartingales. By Ville's inequality (Ville 1939) the chance that one
*ever* reaches ``1/α`` is at most ``α``: it is allowed to look after every unit, to stop early and to go on
later.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.99
BETS = (0.25, 0.5, 1.0, 2.0, 4.0)
KAPPA = 1.0
PRIOR_UNITS = 3
SCALE_FLOOR = 0.001
MAD_TO_SD = 1.4826
BISECTIONS = 40
FARTHEST = 6.0  # log scale: a factor of 400 either way


@dataclass(frozen=True)
class Test:
    """The settings of the test of one limit, set before the first unit; margins are on the log scale."""

    margin: float
    tolerance: float = 0.0
    alpha_fail: float = 0.005
    alpha_pass: float = 0.02
    cells: int = 1
    least: int = 6
    cap: int = 40
    prior_sd: float = 0.02


@dataclass(frozen=True)
class Decision:
    """The state of a test: ``verdict`` is None until it is decided, ``at`` is the number of units used."""

    verdict: str | None
    at: int
    evidence_fail: float
    evidence_pass: float


def scales(differences: Sequence[float], prior_sd: float) -> list[float]:
    """Return the scale of each unit's bet, which depends on earlier units alone.

    It is their median absolute deviation as a standard deviation, and ``prior_sd`` for the first three units.
    """
    found = []
    for index in range(len(differences)):
        before = differences[:index]
        if index < PRIOR_UNITS:
            found.append(prior_sd)
            continue
        centre = statistics.median(before)
        spread = statistics.median(abs(d - centre) for d in before)
        found.append(max(MAD_TO_SD * spread, SCALE_FLOOR))
    return found


def evidence(shifted: Sequence[float], scale: Sequence[float]) -> float:
    """Return ``mean over c of Π (1 + κ·tanh(c·xᵢ/sᵢ))``: the wealth of a gambler who bets on ``x > 0``."""
    logs = [
        math.fsum(_log_stake(c * x / s) for x, s in zip(shifted, scale, strict=True)) - math.log(len(BETS))
        for c in BETS
    ]
    return math.fsum(math.exp(min(one, 700.0)) for one in logs)


def _log_stake(z: float) -> float:
    """Return ``log(1 + κ·tanh z)``, also where tanh rounds to −1."""
    if z < -15:
        return max(2 * z + math.log(2), -700.0) if KAPPA == 1.0 else math.log1p(-KAPPA)
    return math.log1p(KAPPA * math.tanh(z))


def decide(differences: Sequence[float], test: Test) -> Decision:
    """Find the first crossing, unit by unit; later units change nothing.

    FAIL: an increase beyond the tolerance is proven, and staying within the margin is not. PASS: it is proven
    that the increase stays within the margin.
    """
    scale = scales(differences, test.prior_sd)
    fails = [d - test.tolerance for d in differences]
    passes = [test.margin - d for d in differences]
    against, in_favour = 1.0, 1.0
    for n in range(1, min(len(differences), test.cap) + 1):
        against, in_favour = evidence(fails[:n], scale[:n]), evidence(passes[:n], scale[:n])
        if n < test.least:
            continue
        if in_favour >= test.cells / test.alpha_pass:
            return Decision("PASS", n, against, in_favour)
        if against >= test.cells / test.alpha_fail:
            return Decision("FAIL", n, against, in_favour)
    return Decision(None, min(len(differences), test.cap), against, in_favour)


def confidence_sequence(
    differences: Sequence[float], prior_sd: float = 0.02, alpha: float = 1 - CONFIDENCE
) -> tuple[float, float]:
    """Return bounds on the true log ratio that hold at every unit at once, with probability ``1 − α``.

    A value is inside if no one-sided test of it, each at ``α/2``, has crossed after any number of units: the
    tests above are inverted, and the intervals after each unit are intersected.
    """
    scale = scales(differences, prior_sd)
    low, high = -FARTHEST, FARTHEST
    for n in range(1, len(differences) + 1):
        low = max(low, _lower(differences[:n], scale[:n], alpha / 2))
        high = min(high, -_lower([-d for d in differences[:n]], scale[:n], alpha / 2))
    return low, high


def _lower(differences: Sequence[float], scale: Sequence[float], alpha: float) -> float:
    """Return the largest value for which the test of "the truth is at most this" rejects.

    Evidence falls as the value grows, so bisection finds it.
    """
    if len(differences) * math.log1p(KAPPA) < math.log(1 / alpha):
        return -FARTHEST
    low, high = -FARTHEST, max(differences)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if evidence([d - middle for d in differences], scale) >= 1 / alpha:
            low = middle
        else:
            high = middle
    return low
