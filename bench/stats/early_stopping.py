"""Apply MLPerf's early-stopping rule: are there enough requests to say that a percentile is within a limit?

The rule is the "early stopping criterion" of the MLPerf inference policies, with confidence c = 0.99 and
tolerance 0. It assumes independent requests; requests that share a batch are only nearly independent.
"""

from __future__ import annotations

from functools import cache

CONFIDENCE = 0.99


@cache
def least_requests(share: float, over: int, confidence: float = CONFIDENCE) -> int:
    """Return the fewest requests that show that ``share`` of all are within the limit, if ``over`` are not.

    This is the smallest n with P[Binomial(n, 1 − share) ≤ over] ≤ 1 − confidence. Raises ValueError unless
    ``share`` and ``confidence`` are above 0 and below 1 and ``over`` is not negative.
    """
    from scipy.special import bdtr

    if not 0 < share < 1 or not 0 < confidence < 1 or over < 0:
        raise ValueError(f"no share and confidence: {share}, {confidence}")
    low, high = over, over + 1
    while bdtr(over, high, 1 - share) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if bdtr(over, middle, 1 - share) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def within(share: float, over: int, requests: int) -> bool:
    """Return whether ``requests``, of which ``over`` exceed the limit, show that ``share`` are within it."""
    return requests >= least_requests(share, over)


def cannot_hold(share: float, over: int, requests: int, confidence: float = CONFIDENCE) -> bool:
    """Return whether so many requests exceed the limit that ``share`` of all cannot be within it.

    The condition is P[Binomial(requests, 1 − share) ≥ over] ≤ 1 − confidence. If neither this function nor
    ``within`` returns True, there were too few requests to decide.
    """
    from scipy.special import bdtrc

    return over > 0 and float(bdtrc(over - 1, requests, 1 - share)) <= 1 - confidence
