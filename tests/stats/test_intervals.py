"""Intervals: equal to scipy's and numpy's where those exist, and true in 95 of 100 simulated cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator

from bench.stats import intervals
from bench.stats.intervals import (
    ENOUGH_FOR,
    Interval,
    bootstrap_interval,
    distribution,
    mean_interval,
    quantile,
    quantile_interval,
    ratio_interval,
    share_interval,
    t_quantile,
    widened,
)

samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
times = st.floats(1e-3, 1e3)


def bounds(found: Interval) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def covered(true: float, draw: Callable[[], Interval], repetitions: int) -> float:
    """The share of intervals that hold the true value."""
    hits = 0
    for _ in range(repetitions):
        low, high = bounds(draw())
        hits += low <= true <= high
    return hits / repetitions


# ---- against others' implementations ---------------------------------------------------------------


@given(samples, st.floats(0, 1))
def test_quantile_is_numpy_s(values: list[float], q: float) -> None:
    found = quantile(sorted(values), q)
    assert found == pytest.approx(np.quantile(values, q), rel=1e-9, abs=1e-9)
    assert min(values) <= found <= max(values) or found == pytest.approx(min(values), abs=1e-9)


def test_a_quantile_of_an_array_is_numpy_s_to_the_last_bit() -> None:
    draw = np.random.default_rng(5)
    for _ in range(2000):
        found = np.sort(draw.lognormal(size=draw.integers(1, 300)) * 10.0 ** draw.integers(-9, 9))
        q = float(draw.choice([0.0, 0.025, 0.5, 0.975, 1.0, draw.random()]))
        assert intervals.quantile_of_sorted(found, q) == float(np.quantile(found, q))


@pytest.mark.parametrize("degrees", [*range(1, 125), 1000, 10**6])
def test_t_quantile_is_scipy_s(degrees: int) -> None:
    """Up to 120, it is read from a table of what SciPy computes."""
    assert t_quantile(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), rel=1e-12)
    assert t_quantile(degrees) == pytest.approx(float(scipy.special.stdtrit(degrees, 0.975)), rel=1e-14)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30).filter(lambda x: max(x) - min(x) > 1e-3))
def test_mean_interval_is_scipy_s(values: list[float]) -> None:
    wanted = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = mean_interval(values)
    assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    assert bounds(found) == pytest.approx((wanted.low, wanted.high), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("values", [[1.0, 3.0], [0.0, 5.0], [1.0, 1.0, 9.0], [0.001] * 4 + [1.0]])
def test_a_mean_of_times_has_bounds_above_zero(values: list[float]) -> None:
    """Two requests of 1 and 3 ms had a lower bound of −10.7 ms."""
    plain, found = mean_interval(values), intervals.positive_mean(values)
    assert bounds(plain)[0] < 0
    low, high = bounds(found)
    assert 0 < low < found.value < high
    assert math.log(high / found.value) == pytest.approx(math.log(found.value / low))
    assert math.log(high / found.value) == pytest.approx((bounds(plain)[1] - plain.value) / plain.value)
    summed = distribution(values)
    assert summed is not None
    assert (summed.ci_low, summed.ci_high) == (low, high)


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.1], [5.0, 5.0], [0.0, 0.0], [-1.0, 2.0, 5.0]])
def test_bounds_that_make_sense_stay_as_they_are(values: list[float]) -> None:
    assert intervals.positive_mean(values) == mean_interval(values)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_bounds_above_zero_still_hold_the_truth(n: int) -> None:
    """Exponential times, as far apart as times ever are: the plain interval covers 92 to 90 % of them."""
    draw = np.random.default_rng(n)
    assert covered(1.0, lambda: intervals.positive_mean(draw.exponential(size=n).tolist()), 2000) > 0.87


def test_one_sample_has_a_mean_and_no_interval() -> None:
    assert mean_interval([3.0]) == Interval(3.0, None, None)


# ---- distributions -------------------------------------------------------------------------------


@given(samples)
def test_a_distribution_is_numpy_s(values: list[float]) -> None:
    found = distribution(values)
    assert found is not None
    assert (found.n, found.min, found.max) == (len(values), min(values), max(values))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert found.p50 == pytest.approx(np.median(values), rel=1e-9, abs=1e-9)
    if len(values) > 1:
        assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)
    else:
        assert found.sd is None


def test_no_samples_no_distribution() -> None:
    assert distribution([]) is None


@pytest.mark.parametrize(("percent", "need"), ENOUGH_FOR.items())
def test_a_percentile_appears_with_enough_samples_and_not_before(percent: int, need: int) -> None:
    for n in (need - 1, need, need + 1):
        found = getattr(distribution([float(i) for i in range(n)]), f"p{percent}")
        wanted = None if n < need else np.percentile(range(n), percent)
        assert found == (wanted if wanted is None else pytest.approx(wanted))


# The least number of queries that can pass, by percentile, with t of them over the limit.
MINIMUM = {
    0.50: (7, 11, 14, 22, 35),
    0.90: (44, 64, 81, 127, 197),
    0.95: (90, 130, 165, 259, 398),
    0.97: (152, 219, 277, 433, 667),
    0.99: (459, 662, 838, 1307, 2010),
    0.999: (4603, 6636, 8403, 13105, 20140),
}


def least(p: float, over: int) -> int:
    """The smallest n with P[Binomial(n, 1 − p) ≤ over] ≤ 1 %, from the definition."""
    n = over + 1
    while scipy.stats.binom.cdf(over, n, 1 - p) > 0.01:
        n += max(1, n // 400)
    while scipy.stats.binom.cdf(over, n - 1, 1 - p) <= 0.01:
        n -= 1
    return n


@pytest.mark.parametrize("p", MINIMUM)
def test_the_table_of_minimum_counts(p: float) -> None:
    assert tuple(least(p, over) for over in (0, 1, 2, 5, 10)) == MINIMUM[p]


def test_percentiles_are_printed_from_the_count_that_allows_one_outlier() -> None:
    assert {percent: MINIMUM[percent / 100][1] for percent in (90, 95, 99)} == ENOUGH_FOR


# ---- ratios --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(times, times), min_size=5, max_size=20), st.floats(0.1, 10))
def test_a_ratio_is_a_ratio_of_sums_and_scales(pairs: list[tuple[float, float]], factor: float) -> None:
    above, below = [a for a, _ in pairs], [b for _, b in pairs]
    found = ratio_interval(above, below)
    assert found.value == pytest.approx(sum(above) / sum(below))
    low, high = bounds(found)
    assert low <= found.value <= high
    scaled = ratio_interval([a * factor for a in above], below)
    assert scaled.value == pytest.approx(found.value * factor)
    assert bounds(scaled) == pytest.approx((low * factor, high * factor))


def test_a_ratio_by_hand() -> None:
    """a = (1, 2, 3, 4, 5), b = (2, 4, 6, 8, 11): r = 31/15, residuals b − r·a."""
    below, above = [1.0, 2, 3, 4, 5], [2.0, 4, 6, 8, 11]
    r = 31 / 15
    residuals = sum((b - r * a) ** 2 for a, b in zip(below, above, strict=True))
    error = math.sqrt(5 / 4 * residuals) / 31
    half = 2.7764451 * error
    found = ratio_interval(above, below)
    assert found.value == pytest.approx(r)
    assert bounds(found) == pytest.approx((r * math.exp(-half), r * math.exp(half)), rel=1e-7)


def test_equal_samples_have_a_ratio_without_spread() -> None:
    found = ratio_interval([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert found == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_pairs_have_no_bounds(n: int) -> None:
    assert ratio_interval([2.0] * n, [1.0] * n) == Interval(2.0, None, None)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio_interval([1.0] * 6, [1.0] * 5)


def noisy_pairs(rng: Generator, n: int, sd: float, common: float) -> tuple[np.ndarray, np.ndarray]:
    """Requests of different lengths on a machine whose speed wanders: what both sides share cancels."""
    size = np.exp(rng.normal(0, common, n))
    return size * np.exp(rng.normal(0, sd, n)), 0.5 * size * np.exp(rng.normal(0, sd, n))


@pytest.mark.parametrize("n", [5, 6, 10, 24])
def test_ratio_intervals_hold_the_truth(n: int) -> None:
    rng = np.random.default_rng(n)

    def draw() -> Interval:
        base, variant = noisy_pairs(rng, n, 0.05, 0.3)
        return ratio_interval(variant.tolist(), base.tolist())

    assert 0.925 < covered(0.5, draw, 2000) < 0.985


# ---- the spread of processes on top --------------------------------------------------------------


def test_a_spread_is_added_in_quadrature_on_the_log_scale() -> None:
    """±3 % and a spread whose 95 % are ±4 %: ±5 %, on either side."""
    found = widened(Interval(2.0, 2 * math.exp(-0.03), 2 * math.exp(0.03)), 0.04)
    assert found.value == 2
    assert bounds(found) == pytest.approx((2 * math.exp(-0.05), 2 * math.exp(0.05)))


def test_sides_of_an_interval_are_widened_apart() -> None:
    found = widened(Interval(1.0, math.exp(-0.03), math.exp(0.12)), 0.04)
    assert bounds(found) == pytest.approx((math.exp(-0.05), math.exp(math.hypot(0.12, 0.04))))


@given(st.floats(0.1, 10), st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0, 1))
def test_no_spread_changes_nothing_and_some_never_narrows(
    value: float, below: float, above: float, sd: float
) -> None:
    plain = Interval(value, value * math.exp(-below), value * math.exp(above))
    assert bounds(widened(plain, 0.0)) == pytest.approx(bounds(plain))
    (low, high), (wider_low, wider_high) = bounds(plain), bounds(widened(plain, sd))
    assert wider_low <= low * (1 + 1e-12)
    assert wider_high >= high * (1 - 1e-12)


@pytest.mark.parametrize(
    "kept", [Interval(3.0, None, None), Interval(1.0, -0.5, 2.5), Interval(0.0, 0.0, 0.0)]
)
def test_what_has_no_logarithm_stays_as_it_is(kept: Interval) -> None:
    """No bounds, or bounds below zero: there is nothing to widen on the log scale."""
    assert widened(kept, 0.1) == kept


# ---- bootstrap -----------------------------------------------------------------------------------


def test_a_bootstrap_is_of_all_values_and_over_windows() -> None:
    windows = [[1.0, 1.0, 1.0, 1.0], [3.0], [2.0, 2.0], [1.0], [5.0]]
    found = bootstrap_interval(windows)
    assert found.value == pytest.approx(17 / 9)
    low, high = bounds(found)
    assert 1.0 <= low < 17 / 9 < high <= 5.0


def test_a_bootstrap_gives_the_same_every_time() -> None:
    windows = [[float(i), float(i * i)] for i in range(8)]
    assert bootstrap_interval(windows) == bootstrap_interval(windows)


@pytest.mark.parametrize("n", [1, 4])
def test_few_windows_have_no_bounds(n: int) -> None:
    assert bootstrap_interval([[1.0, 2.0]] * n) == Interval(1.5, None, None)


@given(st.lists(st.lists(st.floats(0.1, 5), min_size=1, max_size=5), min_size=5, max_size=12))
def test_a_falling_statistic_keeps_low_below_high(windows: list[list[float]]) -> None:
    """exp(−mean) turns the order of the bounds round."""
    found = bootstrap_interval(windows, lambda mean: math.exp(-mean))
    low, high = bounds(found)
    assert low <= high
    plain = bounds(bootstrap_interval(windows))
    assert (low, high) == pytest.approx((math.exp(-plain[1]), math.exp(-plain[0])))


def windows_of(rng: Generator, n: int, skewed: bool) -> Sequence[list[float]]:
    """Tokens that share their window's level, as those of one text do; the mean is 1."""
    spread = rng.exponential(1.0, (n, 8)) if skewed else rng.normal(1.0, 0.3, (n, 8))
    return [(row * level).tolist() for row, level in zip(spread, rng.normal(1.0, 0.2, n), strict=True)]


@pytest.mark.parametrize(("n", "least_share"), [(5, 0.90), (8, 0.92), (16, 0.925), (40, 0.93)])
def test_bootstrap_intervals_hold_the_truth(n: int, least_share: float) -> None:
    rng = np.random.default_rng(n)
    found = covered(1.0, lambda: bootstrap_interval(windows_of(rng, n, False)), 2000)
    assert least_share < found < 0.985


def test_bootstrap_intervals_of_skewed_values_hold_the_truth_nearly() -> None:
    """KL has a long tail: the mean of few windows is then less certain than any bootstrap says."""
    rng = np.random.default_rng(1)
    assert 0.91 < covered(1.0, lambda: bootstrap_interval(windows_of(rng, 16, True)), 2000) < 0.985


@pytest.mark.parametrize("at_once", [1, 50, 999, 1_000_000])
def test_the_bootstrap_is_the_same_however_its_draws_are_cut(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """36,000 windows took 1.2 GB in one piece."""
    windows = np.random.default_rng(1).normal(size=(37, 5)).tolist()
    whole = bootstrap_interval(windows)
    monkeypatch.setattr(intervals, "AT_ONCE", at_once)
    assert bootstrap_interval(windows) == whole


# ---- servers: quantiles of requests, shares of requests --------------------------------------------


@pytest.mark.parametrize(("q", "n"), [(0.5, 40), (0.9, 100), (0.99, 700)])
def test_a_quantile_is_where_its_interval_says(q: float, n: int) -> None:
    draw = np.random.default_rng(5)
    true = float(scipy.stats.expon.ppf(q))

    def one() -> Interval:
        return quantile_interval(sorted(draw.exponential(size=n)), q, n)

    assert covered(true, one, 800) == pytest.approx(0.95, abs=0.03)


def test_a_quantile_has_no_bound_beyond_the_sample() -> None:
    found = quantile_interval(list(range(20)), 0.95, 20)
    assert found.high is None
    assert found.low is not None
    assert found.low < found.value == pytest.approx(18.05)


@pytest.mark.parametrize(("count", "n"), [(0, 20), (3, 48), (20, 20), (700, 1000)])
def test_the_interval_of_a_share_is_that_of_scipy(count: int, n: int) -> None:
    theirs = scipy.stats.binomtest(count, n).proportion_ci(method="exact")
    assert bounds(share_interval(count, n)) == pytest.approx((theirs.low, theirs.high))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.floats(0, 1))
def test_a_quantile_of_sorted_numbers_is_numpys_to_the_last_bit(values: list[float], q: float) -> None:
    ordered = np.sort(values)
    assert intervals.quantile_of_sorted(ordered, q) == np.quantile(ordered, q)


@pytest.mark.parametrize(
    ("interval", "inverse"),
    [
        (Interval(4.0, 2.0, 8.0), Interval(0.25, 0.125, 0.5)),
        (Interval(4.0, None, 8.0), Interval(0.25, 0.125, None)),
        (Interval(4.0, 0.0, None), Interval(0.25, None, None)),
    ],
)
def test_the_inverse_changes_the_places_of_the_bounds(interval: Interval, inverse: Interval) -> None:
    assert interval.inverse() == inverse
