"""The survival curve of greedy replies: the share that is still the baseline's after so many tokens.

A reply that ends, or is cut, without having differed says only that it did not differ so far: it is censored
there, and not counted as a reply that never differs (Kaplan and Meier 1958, JASA 53:457).
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
    """One pair of replies: the number of the token at which they differ, or of the last one seen."""

    token: int
    differs: bool


@dataclass(frozen=True)
class Step:
    """The share of replies that is still the same after ``token`` tokens, of ``at_risk`` that were seen so
    far; the bounds are None where all have differed or none has."""

    token: int
    share: Interval
    at_risk: int


def followed(base: Sequence[int], variant: Sequence[int]) -> Followed:
    """Follow two replies up to the token at which they differ; an end where the other goes on differs too."""
    same = next(
        (n for n, (a, b) in enumerate(zip(base, variant, strict=False)) if a != b),
        min(len(base), len(variant)),
    )
    differs = same < max(len(base), len(variant))
    return Followed(same + differs, differs)


def curve(pairs: Sequence[Followed]) -> tuple[Step, ...]:
    """Return a step for each token at which some reply differs.

    The variance is Greenwood's; the bounds are those of ln(−ln S), which stay between 0 and 1 (Kalbfleisch
    and Prentice 1980, section 1.3).
    """
    events = Counter(one.token for one in pairs if one.differs)
    seen = sorted(one.token for one in pairs)
    steps: list[Step] = []
    share, variance = 1.0, 0.0
    for token in sorted(events):
        at_risk = len(seen) - bisect_left(seen, token)
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
    """Return by which token half of the replies differ; None if fewer than half are seen to.

    Its bounds are where those of the curve pass one half (Brookmeyer and Crowley 1982, Biometrics 38:29).
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
    return next((float(token) for token, share in points if share <= HALF), None)
