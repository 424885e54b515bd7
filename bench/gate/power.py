"""Find the smallest change that a gate detects, by simulating its test on units with a known change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bench.gate.sequential import BETS, MAD_TO_SD, PRIOR_UNITS, SCALE_FLOOR, Test

POWER = 0.95
GATES = 400
# The changes that are simulated, as shares, smallest first; the answer is one of them.
CHANGES = (0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3)


def smallest_detectable(unit_sd: float, test: Test, changes: Sequence[float] = CHANGES) -> float | None:
    """Return the smallest of ``changes`` (shares) on which at least 95 % of gates fail; None without one.

    The log ratios of units are drawn from a normal distribution with the standard deviation ``unit_sd``, so
    the answer holds for noise like that of the calibration.
    """
    for change in changes:
        if failing_share(math.log1p(change), unit_sd, test) >= POWER:
            return change
    return None


def failing_share(shift: float, unit_sd: float, test: Test, gates: int = GATES) -> float:
    """Return the share of simulated gates that end in FAIL if the true log ratio is ``shift``."""
    import numpy as np

    units = np.random.default_rng(0).normal(shift, unit_sd, (gates, test.cap))
    return float((verdicts(units, test) == -1).mean())


def verdicts(units: Any, test: Test) -> Any:
    """Decide each gate of an array of log ratios with the shape [gates, cap].

    Returns an array of shape [gates]: −1 for FAIL, 1 for PASS, 0 for undecided at the cap. The rule is that
    of ``sequential.decide``, applied to all gates at once.
    """
    import numpy as np

    d = np.asarray(units, dtype=float)
    gates, cap = d.shape
    scale = np.full((gates, cap), test.prior_sd)
    for n in range(PRIOR_UNITS, cap):
        before = d[:, :n]
        spread = np.median(np.abs(before - np.median(before, axis=1, keepdims=True)), axis=1)
        scale[:, n] = np.maximum(MAD_TO_SD * spread, SCALE_FLOOR)
    sides = []
    for x in (d, test.margin - d):
        wealth = np.zeros((gates, cap))
        for bet in BETS:
            factors = np.log1p(test.stake * np.tanh(np.clip(bet * x / scale, -15.0, 15.0)))
            wealth += np.exp(np.clip(np.cumsum(factors, axis=1), -700, 600)) / len(BETS)
        sides.append(wealth)
    counted = np.arange(1, cap + 1) >= test.least
    failed = (sides[0] >= test.cells / test.alpha_fail) & counted
    passed = (sides[1] >= test.cells / test.alpha_pass) & counted
    never = cap + 1
    first_fail = np.where(failed.any(axis=1), failed.argmax(axis=1), never)
    first_pass = np.where(passed.any(axis=1), passed.argmax(axis=1), never)
    return np.where(first_pass <= first_fail, np.where(first_pass == never, 0, 1), -1)
