"""Compute the survival curve of greedy replies: the share that still equals the baseline's after n tokens.

A reply that ends, or is cut, before it differs says only that it did not differ so far. It is censored at
that token, and not counted as a reply that never differs (Kaplan and Meier 1958, JASA 53:457).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.stats.intervals import Interval
from bench.stats.proportions import Z

HALF = 0.5


@dataclass(frozen=True)
class Followed:
    """Record for a pair of replies the first token that differs (counted from 1), or the last one if none."""

    token: int
    differs: bool


@dataclass(frozen=True)
class Step:
    """Hold the share of replies that are still the same after ``token`` tokens.

    ``at_risk`` replies were still the same before this token. The bounds are None if all replies have
    differed.
    """

    token: int
    share: Interval
    at_risk: int


def followed(base: Sequence[int], variant: Sequence[int]) -> Followed:
    """Follow two replies up to the first token that differs; if only one goes on, they differ there."""
    same = next(
        (n for n, (a, b) in enumerate(zip(base, variant, strict=False)) if a != b),
        min(len(base), len(variant)),
    )
    differs = same < max(len(base), len(variant))
    return Followed(same + differs, differs)


def curve(pairs: Sequence[Followed]) -> tuple[Step, ...]:
    """Return one step of the survival curve for each token at which some reply differs.

    The variance is Greenwood's; the bounds are those of ln(−ln S), which stay between 0 and 1 (Kalbfleisch
    and Prentice 1980, section 1.3).
    """
    events = Counter(pair.token for pair in pairs if pair.differs)
    tokens = sorted(pair.token for pair in pairs)
    steps: list[Step] = []
    share, variance = 1.0, 0.0
    for token in sorted(events):
        at_risk = len(tokens) - bisect_left(tokens, token)
        left = at_risk - events[token]
        share *= left / at_risk
        variance += events[token] / (at_risk * left) if left else math.inf
        steps.append(Step(token, _bounds(share, variance), at_risk))
    return tuple(steps)


def _bounds(share: float, variance: float) -> Interval:
    if not 0 < share < 1:
        return Interval(share, None, None)
    half = Z * math.sqrt(variance) / abs(math.log(share))
    return Interval(share, share ** math.exp(half), share ** math.exp(-half))


def median(steps: Sequence[Step]) -> Interval | None:
    """Return the token by which half of the replies differ; None if fewer than half were seen to differ.

    Its bounds are the tokens at which the bounds of the curve pass one half (Brookmeyer and Crowley 1982,
    Biometrics 38:29).
    """
    value = _passes([(step.token, step.share.value) for step in steps])
    if value is None:
        return None
    lows, highs = (
        _passes([(step.token, bound) for step, bound in zip(steps, bounds, strict=True) if bound is not None])
        for bounds in ([step.share.low for step in steps], [step.share.high for step in steps])
    )
    return Interval(value, lows, highs)


def _passes(points: Sequence[tuple[int, float]]) -> float | None:
    """Return the first token at which the share is one half or less."""
    return next((float(token) for token, share in points if share <= HALF), None)
