"""MLPerf's early-stopping rule: do so many requests show that a percentile of the latency is within a limit?

The rule is that of the MLPerf inference policies ("early stopping criterion", confidence 0.99, tolerance 0).
It assumes independent requests, which requests that share a batch are not quite.
"""

from __future__ import annotations

from functools import cache

CONFIDENCE = 0.99


@cache
def least_requests(share: float, over: int, confidence: float = CONFIDENCE) -> int:
    """Return how many requests are needed, if ``over`` of them are over the limit, to say that ``share`` of
    all requests are within it: the smallest h + t with P[Binomial(h + t, 1 − p) ≤ t] ≤ 1 − c.

    Raises ValueError unless ``share`` and ``confidence`` are above 0 and below 1.
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
    """Return whether ``requests`` with ``over`` of them over the limit show that ``share`` are within it."""
    return requests >= least_requests(share, over)


def cannot_hold(share: float, over: int, requests: int, confidence: float = CONFIDENCE) -> bool:
    """Return whether so many requests are over the limit that ``share`` cannot be within it:
    P[Binomial(n, 1 − p) ≥ over] ≤ 1 − c.

    If neither this nor ``within`` is true, there were too few requests to say.
    """
    from scipy.special import bdtrc

    return over > 0 and float(bdtrc(over - 1, requests, 1 - share)) <= 1 - confidence
