"""Compute means, quantiles and 95 % intervals. Every standard deviation divides by n − 1.

Small samples are handled in plain Python. Functions that need numpy or scipy import them when called, because
they are slow to import.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bench.stats.t_table import AT_97_5_PERCENT

CONFIDENCE = 0.95
NORMAL_95 = 1.959964  # half of a 95 % interval is this many standard errors
BOOTSTRAP_RESAMPLES = 2000
AT_ONCE = 1_000_000  # windows drawn at a time, so that the arrays fit into memory
FEW_WINDOWS = 200  # resamples of at most this many windows are kept for reuse (3 MB)
LEAST_SAMPLES = 5  # fewer pairs, or windows of text, give no bounds
# Fewer samples than these cannot bound the percentile with 99 % confidence (see ``early_stopping.py``).
ENOUGH_FOR = {90: 64, 95: 130, 99: 662}


@dataclass(frozen=True)
class Interval:
    """Hold a point estimate and its 95 % bounds (None if there are too few samples for them)."""

    value: float
    low: float | None
    high: float | None

    def times(self, by: float) -> Interval:
        """Return the interval with its value and bounds multiplied by ``by``, a number above 0."""
        low, high = (None if bound is None else bound * by for bound in (self.low, self.high))
        return Interval(self.value * by, low, high)

    def inverse(self) -> Interval:
        """Return the interval of 1 ÷ the value, a number above 0. A bound of 0 has no inverse: it is None."""
        low, high = (None if not bound else 1 / bound for bound in (self.high, self.low))
        return Interval(1 / self.value, low, high)


@dataclass(frozen=True)
class Distribution:
    """Summarise a sample. The percentiles p90, p95 and p99 are None below 64, 130 and 662 samples."""

    n: int
    mean: float
    sd: float | None
    min: float
    max: float
    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    ci_low: float | None
    ci_high: float | None


def t_quantile(degrees: int) -> float:
    """Return Student's t at 97.5 % for ``degrees`` degrees of freedom."""
    if 1 <= degrees <= len(AT_97_5_PERCENT):
        return AT_97_5_PERCENT[degrees - 1]
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - (1 - CONFIDENCE) / 2))


def mean_interval(samples: Sequence[float]) -> Interval:
    """Return ``mean ± t·s/√n``. This assumes independent samples; requests of one process only nearly are."""
    n, mean = len(samples), math.fsum(samples) / len(samples)
    if n < 2:
        return Interval(mean, None, None)
    half = t_quantile(n - 1) * _sd(samples, mean) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def positive_mean(samples: Sequence[float]) -> Interval:
    """Return ``mean_interval``, but with bounds above 0 if no sample is negative (times never are)."""
    interval = mean_interval(samples)
    return above_zero(interval) if min(samples) >= 0 else interval


def above_zero(interval: Interval) -> Interval:
    """Move the bounds of the interval ``m ± h`` above 0, for a mean that cannot be negative.

    If m − h is above 0, nothing changes. If it is not, because a few samples lie far apart, the bounds become
    ``m·exp(±h/m)``, which is the same standard error on the log scale, by linearisation.
    """
    mean, low, high = interval.value, interval.low, interval.high
    if low is None or high is None or low > 0 or mean <= 0:
        return interval
    half = (high - mean) / mean
    return Interval(mean, mean * math.exp(-half), mean * math.exp(half))


def _sd(samples: Sequence[float], mean: float) -> float:
    return math.sqrt(math.fsum((x - mean) ** 2 for x in samples) / (len(samples) - 1))


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return the quantile ``q`` of sorted values, by linear interpolation (numpy's default method)."""
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def distribution(samples: Sequence[float]) -> Distribution | None:
    """Summarise a sample; None if it is empty. The bounds of the mean are above 0 if no value is negative."""
    if not samples:
        return None
    ordered = sorted(samples)
    interval = positive_mean(samples)
    tails = {
        p: quantile(ordered, p / 100) if len(ordered) >= need else None for p, need in ENOUGH_FOR.items()
    }
    return Distribution(
        n=len(ordered),
        mean=interval.value,
        sd=_sd(samples, interval.value) if len(ordered) > 1 else None,
        min=ordered[0],
        max=ordered[-1],
        p50=quantile(ordered, 0.5),
        p90=tails[90],
        p95=tails[95],
        p99=tails[99],
        ci_low=interval.low,
        ci_high=interval.high,
    )


def quantile_interval(ordered: Sequence[float], q: float, n: int) -> Interval:
    """Return a quantile of sorted values, with a 95 % interval made of two other quantiles.

    These are the quantiles at ``q ∓ z·√(q(1 − q)/n)``, by the normal approximation of the binomial (Conover
    1999, section 3.2). ``n`` is the number of independent samples: for gaps between tokens, it is the number
    of requests. A bound that would lie beyond the sample is None.
    """
    from scipy.special import ndtri

    half = float(ndtri(1 - (1 - CONFIDENCE) / 2)) * math.sqrt(q * (1 - q) / n)
    low = quantile(ordered, q - half) if q - half >= 0 else None
    high = quantile(ordered, q + half) if q + half <= 1 else None
    return Interval(quantile(ordered, q), low, high)


def share_interval(count: int, n: int) -> Interval:
    """Return the share ``count``/``n`` with its exact binomial 95 % interval (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(count, n - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 1 - tail)) if count < n else 1.0
    return Interval(count / n, low, high)


def ratio_interval(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """Return Σ numerator ÷ Σ denominator over pairs, with a 95 % interval on the log scale.

    The ratio is r = Σb/Σa. By linearisation, the standard error of ln r is ``√(n/(n−1)·Σ(bᵢ − r·aᵢ)²)/Σb``
    (Cochran 1977, eq. 6.9), and the interval uses Student's t. Fewer than five pairs give no bounds.
    """
    n, below = len(denominator), math.fsum(denominator)
    ratio = math.fsum(numerator) / below
    if n < LEAST_SAMPLES:
        return Interval(ratio, None, None)
    squares = math.fsum((b - ratio * a) ** 2 for a, b in zip(denominator, numerator, strict=True))
    half = t_quantile(n - 1) * math.sqrt(n / (n - 1) * squares) / (ratio * below)
    return Interval(ratio, ratio * math.exp(-half), ratio * math.exp(half))


def widened(interval: Interval, half_width: float) -> Interval:
    """Widen an interval by an independent half-width: both are added in quadrature on the log scale."""
    value, low, high = interval.value, interval.low, interval.high
    if low is None or high is None or min(value, low) <= 0:
        return interval
    down, up = (math.hypot(math.log(ratio), half_width) for ratio in (value / low, high / value))
    return Interval(value, value * math.exp(-down), value * math.exp(up))


def _resamples(n: int) -> Iterable[Any]:
    """Return the windows to take in each resample, as index arrays of shape [resamples, n].

    They are the same in every call. If ``n`` is small they are kept, because every statistic of every row
    needs them again.
    """
    return _few_resamples(n) if n <= FEW_WINDOWS else _drawn(n)


@lru_cache(maxsize=8)
def _few_resamples(n: int) -> tuple[Any, ...]:
    return tuple(_drawn(n))


def _drawn(n: int) -> Iterator[Any]:
    """Yield the resamples in arrays that fit into memory; the draws do not depend on the arrays' size."""
    import numpy as np

    draw, rows = np.random.default_rng(0), max(AT_ONCE // n, 1)
    for begin in range(0, BOOTSTRAP_RESAMPLES, rows):
        yield draw.integers(0, n, (min(rows, BOOTSTRAP_RESAMPLES - begin), n))


def quantile_of_sorted(ordered: Any, q: float) -> float:
    """Return exactly ``numpy.quantile(ordered, q)``, but faster: numpy's call takes as long as a bootstrap.

    ``ordered`` is a sorted array of finite numbers. In the upper half of the gap between two numbers, the
    interpolation starts from the upper one, as in numpy, so that the result is equal to the last bit.
    """
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    part = place - below
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


def bootstrap_interval(
    windows: Sequence[Sequence[float]], statistic: Callable[[float], float] = lambda mean: mean
) -> Interval:
    """Return ``statistic`` of the mean over all values, with a percentile bootstrap interval.

    Whole windows are resampled, because the tokens of one window are correlated. Fewer than five windows give
    no bounds. With few windows the 2.5 % and 97.5 % percentiles are too narrow (with 5 windows they cover
    83 %), so the percentiles ``Φ(∓√(n/(n − 1))·t)`` are used instead (Hesterberg 2015, arXiv 1411.5279).
    ``statistic`` must be monotone.
    """
    import numpy as np
    from scipy.special import ndtr

    sums = np.array([math.fsum(window) for window in windows])
    counts = np.array([len(window) for window in windows])
    value = statistic(float(sums.sum() / counts.sum()))
    n = len(windows)
    if n < LEAST_SAMPLES:
        return Interval(value, None, None)
    alike = bool((counts == counts[0]).all())
    means = np.concatenate(
        [
            sums[chosen].sum(axis=1) / (counts[0] * n if alike else counts[chosen].sum(axis=1))
            for chosen in _resamples(n)
        ]
    )
    tail = float(ndtr(-math.sqrt(n / (n - 1)) * t_quantile(n - 1)))
    means.sort()
    bounds = sorted(statistic(quantile_of_sorted(means, q)) for q in (tail, 1 - tail))
    return Interval(value, bounds[0], bounds[1])
