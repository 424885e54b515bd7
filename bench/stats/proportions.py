"""Compare shares of right answers: one share, two paired shares, and the smallest loss that n items show."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

from bench.stats.intervals import CONFIDENCE, Interval

Z = 1.959963984540054  # the normal quantile at 97.5 %
ALPHA = 1 - CONFIDENCE
GAINED = 0.3  # items gained for each that is lost, as where noise on weights is first found (docs/drift.md)
MOST_COUNTED = 2_000  # up to so many items the power is counted exactly
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

    A change that makes items wrong makes others right. The loss is what is lost less what is gained, with
    ``GAINED`` of the second for each of the first, and the items are independent. Beyond ``MOST_COUNTED``
    items the normal approximation is used (Connor 1987, Biometrics 43:207). It returns None if even the loss
    of all ``right`` items would not be detected.
    """
    if n > MOST_COUNTED:
        z = Z + NormalDist().inv_cdf(power)
        lost = math.ceil(z * z * (1 + GAINED) / (1 - GAINED) ** 2)
    else:
        enough = (some for some in range(1, right + 1) if _detection(n, some / n) >= power)
        lost = next(enough, right + 1)
    return (1 - GAINED) * lost / n if lost <= right else None


def _detection(n: int, chance: float) -> float:
    """Return the chance of a loss with p ≤ 5 %, if each of ``n`` items is lost with ``chance``, and gained
    with ``GAINED`` of it."""
    differ = min(chance * (1 + GAINED), 1.0)
    return math.fsum(
        _binomial(count, n, differ) * _seen_among(count)
        for count in range(n + 1)
        if abs(count - n * differ) <= 4 * math.sqrt(n)  # eight standard deviations at least
    )


@cache
def _seen_among(count: int) -> float:
    """Return the chance that the losses among ``count`` items that differ have p ≤ 5 %."""
    above_half = range(count // 2 + 1, count + 1)
    needed = next((lost for lost in above_half if mcnemar(lost, count - lost) <= ALPHA), count + 1)
    return math.fsum(_binomial(lost, count, 1 / (1 + GAINED)) for lost in range(needed, count + 1))


def _binomial(k: int, n: int, chance: float) -> float:
    """Return the chance of ``k`` among ``n``; by logarithms, so that nothing overflows."""
    if chance in (0.0, 1.0):
        return float(k == n * chance)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(chance) + (n - k) * math.log1p(-chance))
