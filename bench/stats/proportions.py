"""Compare shares of right answers: one share, two paired shares, and the smallest loss that n items show."""

from __future__ import annotations

import math
from functools import cache

from bench.stats.intervals import CONFIDENCE, Interval

Z = 1.959963984540054  # the normal quantile at 97.5 %
ALPHA = 1 - CONFIDENCE
MOST_EXACT = 10_000  # up to so many items McNemar's tail is summed in integers; scipy is used for more


def wilson(right: int, n: int) -> Interval:
    """Return right ÷ n with its 95 % score interval (Wilson 1927)."""
    share, z2 = right / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(share, max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share)))


def paired_difference(kept: int, lost: int, gained: int, never: int) -> Interval:
    """Return (gained − lost) ÷ n with its 95 % interval (Newcombe 1998, Statist. Med. 17:2635, method 10).

    ``kept`` items are right on both sides, ``lost`` only before, ``gained`` only after, ``never`` on neither
    side. The interval has a width even if nothing changed.
    """
    n = kept + lost + gained + never
    before, after = wilson(kept + lost, n), wilson(kept + gained, n)
    phi = _phi(kept, lost, gained, never)
    down = _hypot(after.value - (after.low or 0.0), (before.high or 0.0) - before.value, phi)
    up = _hypot((after.high or 0.0) - after.value, before.value - (before.low or 0.0), phi)
    value = (gained - lost) / n
    return Interval(value, max(value - down, -1.0), min(value + up, 1.0))


def _hypot(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0))


def _phi(kept: int, lost: int, gained: int, never: int) -> float:
    """Return the correlation φ of both sides, with Newcombe's continuity correction."""
    margins = (kept + lost) * (gained + never) * (kept + gained) * (lost + never)
    if margins == 0:
        return 0.0
    n = kept + lost + gained + never
    product = kept * never - lost * gained
    return (max(product - n / 2, 0.0) if product > 0 else product) / math.sqrt(margins)


def mcnemar(lost: int, gained: int) -> float:
    """Return the two-sided p-value of the hypothesis that losses and gains are equally likely.

    It is the exact binomial form of McNemar's test (McNemar 1947).
    """
    n, fewer = lost + gained, min(lost, gained)
    if n == 0:
        return 1.0
    if n > MOST_EXACT:
        from scipy.special import bdtr

        return float(min(1.0, 2 * bdtr(fewer, n, 0.5)))
    ways = below = 1  # binomial coefficients: (n choose k), and their sum up to k
    for k in range(fewer):
        ways = ways * (n - k) // (k + 1)
        below += ways
    return float(min(1.0, 2 * (below / 2**n)))


@cache
def least_change(right: int, n: int, power: float) -> float | None:
    """Return the smallest loss, as a share of ``n`` items, that McNemar's test detects at 5 % with ``power``.

    The calculation assumes that each of the ``right`` items is lost with the same chance, and that nothing is
    gained. It returns None if even the loss of all would not be detected.
    """
    for lost in range(1, right + 1):
        if _detection(right, lost / right) >= power:
            return lost / n
    return None


def _detection(right: int, chance: float) -> float:
    """Return the chance of a loss with p ≤ 5 %, if each of ``right`` items is lost with ``chance``."""
    needed = next(k for k in range(1, 64) if mcnemar(k, 0) <= ALPHA)
    if right < needed:
        return 0.0
    below = math.fsum(
        math.comb(right, k) * chance**k * (1 - chance) ** (right - k) for k in range(min(needed, right + 1))
    )
    return 1 - below
