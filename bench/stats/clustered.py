"""Compute quantiles of values from correlated windows, and standard errors for independent values."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain

from bench.stats.intervals import LEAST_SAMPLES, Interval, quantile, t_quantile

LEAST_BEYOND = 5  # a tail with fewer values than this gets no outer bound, because too little is known of it


def quantile_intervals(windows: Sequence[Sequence[float]], places: Sequence[float]) -> list[Interval]:
    """Return a quantile over all values for each of ``places`` (0 to 1), with a 95 % interval.

    Windows, and not values, are the independent sample. The share of values up to the quantile is a ratio of
    sums over windows. Its standard error (by linearisation, with Student's t) gives two shares; the values
    at these shares are the bounds (Woodruff 1952, JASA 47:635). A bound is None if it lies beyond the sample,
    or in a tail of fewer than five values. There are no bounds for fewer than five windows, and none for the
    smallest and the largest value.
    """
    each = [sorted(window) for window in windows]
    ordered = sorted(chain.from_iterable(each))
    return [_with_bounds(each, ordered, place) for place in places]


def _with_bounds(each: Sequence[Sequence[float]], ordered: Sequence[float], place: float) -> Interval:
    value, n, total = quantile(ordered, place), len(each), len(ordered)
    if n < LEAST_SAMPLES or place in (0, 1):
        return Interval(value, None, None)
    counts = [bisect_right(window, value) for window in each]
    share = sum(counts) / total
    pairs = zip(counts, each, strict=True)
    squares = math.fsum((count - share * len(window)) ** 2 for count, window in pairs)
    half = t_quantile(n - 1) * math.sqrt(n / (n - 1) * squares) / total
    low, high = place - half, place + half
    few_below, few_above = (tail * total < LEAST_BEYOND for tail in (place, 1 - place))
    return Interval(
        value,
        None if low < 0 or few_below else quantile(ordered, low),
        None if high > 1 or few_above else quantile(ordered, high),
    )


def mean_error(values: Sequence[float]) -> float | None:
    """Return √((E[x²] − E[x]²)/(N − 1)), as llama.cpp computes it; None for fewer than two values.

    This is the standard error of a mean of independent values. For the tokens of a text it is too small.
    """
    variance = covariance(values, values)
    return None if variance is None else math.sqrt(variance)


def covariance(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return the covariance of two paired means, (E[ab] − E[a]·E[b])/(N − 1); None for fewer than two."""
    n = len(x)
    if n < 2:
        return None
    mean_x, mean_y = math.fsum(x) / n, math.fsum(y) / n
    return math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / n / (n - 1)
