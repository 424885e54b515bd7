"""The ratio of a few fresh pairs: against another computation of it, and right as often as it says."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from scipy import optimize, special, stats

from bench.stats.holm import told_apart
from bench.stats.pairs import (
    OTHER_KERNELS,
    SAME_KERNELS,
    Kernels,
    PairRatio,
    Prior,
    pair_ratio,
    pooled_ratio,
    prior_of,
)

ONE = Prior(0.012, 0.8)  # what is checked to the digit here is checked with this one
BOTH = pytest.mark.parametrize("prior", [SAME_KERNELS, OTHER_KERNELS], ids=["same kernels", "other kernels"])

times = st.floats(0.5, 2.0)
PAIRS = st.lists(st.tuples(times, times), min_size=1, max_size=12)


def over(pairs: Sequence[tuple[float, float]], factor: float = 1.0) -> PairRatio:
    """(variant, baseline) of each pair."""
    return pair_ratio([variant for variant, _ in pairs], [baseline for _, baseline in pairs], ONE, factor)


def spread_out(n: int, sd: float, centre: float = 1.0) -> list[tuple[float, float]]:
    """Pairs around a baseline of 1 whose ratios have the mean ``centre`` and this relative spread."""
    z = np.arange(n) - (n - 1) / 2
    z = z / z.std(ddof=1) if n > 1 else z
    return [(float(centre * (1 + sd * one)), 1.0) for one in z]


# ---- against another computation ---------------------------------------------------------------------


def half_width(n: int, squares: float) -> float:
    """Half the interval on the log scale, by the trapezoidal rule over ±9 of the prior's sd."""
    logs = math.log(ONE.median) + ONE.log_sd * np.linspace(-9, 9, 20_001)
    weights = -(((logs - math.log(ONE.median)) / ONE.log_sd) ** 2) / 2
    weights += -(n - 1) * logs - squares / 2 * np.exp(-2 * logs)
    weights = np.exp(weights - weights.max())
    errors = np.exp(logs) / math.sqrt(n)

    def outside(distance: float) -> float:
        tails = special.erfc(distance / errors / math.sqrt(2))
        return float(np.trapezoid(weights * tails, logs) / np.trapezoid(weights, logs))

    return float(optimize.brentq(lambda distance: outside(distance) - 0.05, 0, 100))


@pytest.mark.parametrize("n", [2, 3, 4, 6, 8, 12])
@pytest.mark.parametrize("sd", [0.003, 0.01, 0.03, 0.08, 0.3, 0.6])
def test_the_interval_is_that_of_another_integration(n: int, sd: float) -> None:
    """0.3 and 0.6 are far above what the prior expects: the pairs must win, and the interval be as wide."""
    found = over(spread_out(n, sd, 0.8))
    wanted = half_width(n, (n - 1) * sd**2)
    assert found.sd == pytest.approx(sd)
    assert (found.value, found.pairs) == (pytest.approx(0.8), n)
    assert math.log(found.high / found.value) == pytest.approx(wanted, rel=1e-3)
    assert math.log(found.value / found.low) == pytest.approx(wanted, rel=1e-3)


def test_the_interval_is_that_of_a_simulation() -> None:
    """Draw many spreads from the prior and many means for each: those that fit what was seen give it."""
    rng = np.random.default_rng(1)
    n, seen = 4, 0.02
    sds = ONE.median * np.exp(ONE.log_sd * rng.standard_normal(400_000))
    fit = -(n - 1) * np.log(sds) - (n - 1) * seen**2 / 2 / sds**2
    chosen = rng.choice(sds, 400_000, p=(shares := np.exp(fit - fit.max())) / shares.sum())
    means = chosen / math.sqrt(n) * rng.standard_normal(chosen.size)
    found = over(spread_out(n, seen))
    assert math.log(found.high / found.value) == pytest.approx(np.quantile(np.abs(means), 0.95), rel=0.02)


def test_a_single_pair_rests_on_the_prior() -> None:
    """It has no spread of its own: half the interval is 4.5 %, whatever it shows."""
    for pair in ((1.0, 1.0), (3.0, 1.0), (0.2, 7.0)):
        found = over([pair])
        assert (found.sd, found.pairs, found.value) == (None, 1, pair[0] / pair[1])
        assert math.log(found.high / found.value) == pytest.approx(half_width(1, 0.0), rel=1e-3)
        assert math.log(found.high / found.value) == pytest.approx(0.0448, abs=5e-5)


@pytest.mark.parametrize(("n", "half"), [(2, 0.0167), (3, 0.0073), (4, 0.0035), (12, 0.00047)])
def test_equal_pairs_do_not_pass_for_a_spread_of_nothing(n: int, half: float) -> None:
    found = over([(2.0, 4.0)] * n)
    assert (found.value, found.sd) == (0.5, 0.0)
    assert math.log(found.high / found.value) == pytest.approx(half, rel=0.02)


def test_three_quiet_pairs_are_believed_less_than_t_and_loud_ones_almost_as_far() -> None:
    """What the prior is for: three pairs 0.2 % apart get a wider interval than Student's t gives, three that
    are 1.2 % apart one of half the width."""
    t = 4.302652729911275  # two degrees of freedom, 97.5 %
    for sd, wider in ((0.002, True), (0.012, False)):
        half = math.log(over(spread_out(3, sd)).high)
        assert (half > t * sd / math.sqrt(3)) is wider
    assert math.log(over(spread_out(3, 0.012)).high) < 0.7 * t * 0.012 / math.sqrt(3)


@pytest.mark.parametrize("spreads", [(0.001, 0.01), (0.01, 0.03), (0.03, 0.2), (0.2, 0.9)])
def test_pairs_further_apart_have_a_wider_interval(spreads: tuple[float, float]) -> None:
    near, far = (over(spread_out(4, sd)) for sd in spreads)
    assert far.high / far.low > near.high / near.low


# ---- what must not matter ----------------------------------------------------------------------------


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(pairs: list[tuple[float, float]], rng: random.Random) -> None:
    shuffled = rng.sample(pairs, len(pairs))
    one, other = over(pairs), over(shuffled)
    for key in ("value", "low", "high", "p"):
        assert getattr(one, key) == pytest.approx(getattr(other, key), rel=1e-9, abs=1e-12)


@given(PAIRS, st.floats(0.01, 100))
def test_a_factor_scales_the_whole_interval(pairs: list[tuple[float, float]], factor: float) -> None:
    plain, scaled = over(pairs), over(pairs, factor)
    assert scaled.value == pytest.approx(plain.value * factor)
    assert scaled.low == pytest.approx(plain.low * factor)
    assert scaled.high == pytest.approx(plain.high * factor)
    assert (scaled.sd, scaled.pairs) == (plain.sd, plain.pairs)


@given(PAIRS, st.floats(1e-3, 1e9))
def test_the_unit_of_time_does_not_matter(pairs: list[tuple[float, float]], unit: float) -> None:
    plain, other = over(pairs), over([(variant * unit, base * unit) for variant, base in pairs])
    assert other.value == pytest.approx(plain.value)
    assert other.low == pytest.approx(plain.low, rel=1e-6)
    assert other.p == pytest.approx(plain.p, rel=1e-4, abs=1e-9)


@given(PAIRS)
def test_p_and_the_interval_agree(pairs: list[tuple[float, float]]) -> None:
    """p below 5 % is an interval without 1 in it."""
    found = over(pairs)
    assert found.low < found.value < found.high
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) is not (found.low <= 1 <= found.high)


def test_equal_sides_have_a_p_of_one() -> None:
    assert over([(3.0, 3.0)] * 4).p == pytest.approx(1.0)


def test_the_ratio_is_that_of_the_sums() -> None:
    assert over([(1.0, 2.0), (9.0, 10.0)]).value == pytest.approx(10 / 12)


def test_no_pair_is_no_ratio() -> None:
    with pytest.raises(ValueError, match="one pair of processes at least"):
        pair_ratio([], [], ONE)


# ---- Holm --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.05], [True]),
        ([0.051], [False]),
        # sorted 0.01, 0.013, 0.03 against 0.05/3, 0.05/2, 0.05/1
        ([0.03, 0.01, 0.013], [True, True, True]),
        # 0.02 misses 0.05/3: nothing after it counts, though 0.03 alone were below 0.05
        ([0.02, 0.03, 0.04], [False, False, False]),
        # 0.001 against 0.0125, 0.02 misses 0.0167
        ([0.02, 0.9, 0.001, 0.021], [False, False, True, False]),
        ([0.0125, 0.0125, 0.0125, 0.0125], [True] * 4),
        ([1.0, 1.0], [False, False]),
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[bool]) -> None:
    assert told_apart(p_values, family_error=0.05) == expected


def test_holm_errs_in_one_family_of_fifty() -> None:
    """Uniform p-values; Holm is a little below 2 % where they are independent."""
    rng = np.random.default_rng(2)
    for rows in (1, 6, 40):
        wrong = sum(any(told_apart(rng.random(rows).tolist())) for _ in range(4000)) / 4000
        assert 0.013 <= wrong <= 0.026


def test_holm_holds_beside_rows_that_do_differ() -> None:
    """With half of twelve rows truly different: one of the others is named in at most 2 % of tables."""
    rng = np.random.default_rng(3)
    wrong = sum(any(told_apart([1e-9] * 6 + rng.random(6).tolist())[6:]) for _ in range(4000)) / 4000
    assert 0.012 <= wrong <= 0.026


# ---- sums divided by sums ------------------------------------------------------------------------------


def test_a_pooled_ratio_over_equal_divisors_is_the_plain_one() -> None:
    """With as many requests on each side of each pair, both are the same estimate to the last roundings."""
    variant, baseline = [3.0, 4.0, 5.5], [2.0, 2.5, 2.0]
    plain = pair_ratio(variant, baseline, ONE, 1.5)
    pooled = pooled_ratio([(x, 7) for x in variant], [(x, 7) for x in baseline], ONE, 1.5)
    assert vars(pooled) == pytest.approx(vars(plain))


def test_a_pooled_ratio_gives_each_request_the_same_weight() -> None:
    found = pooled_ratio([(1.0, 10), (9.0, 10)], [(4.0, 1), (1.0, 4)], ONE)
    assert found.value == pytest.approx((10 / 20) / (5 / 5))
    deviation = 2 * ((0.1 - 0.5) - (0.8 - 0.2))  # of the first pair; the second one has the opposite
    assert found.sd == pytest.approx(math.sqrt(2) * abs(deviation))


@pytest.mark.parametrize("side", [[(1.0, 0), (2.0, 0)], [(0.0, 1)], []])
def test_a_pooled_ratio_needs_something_on_each_side(side: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="above and below the line"):
        pooled_ratio(side, [(1.0, 1)] * len(side), ONE)


def test_what_counting_adds_to_a_pair_is_known_beforehand() -> None:
    """Pairs that happen to agree do not hide it: the interval of four pairs is that of the counts."""
    found = pair_ratio([1.0] * 4, [1.0] * 4, Prior(0.001, 0.1, counted=0.2))
    assert math.log(found.high) == pytest.approx(1.96 * 0.2 / 2, rel=1e-3)


# ---- right as often as it says -----------------------------------------------------------------------

FIRST, MOST, NARROW = 4, 12, 0.025  # measure.processes, times measure.max_rounds, measure.max_half_width


def draw_sd(rng: Generator, prior: Prior) -> float:
    """The spread of one row's pairs, as rows have it."""
    return float(prior.median * math.exp(prior.log_sd * rng.standard_normal()))


def measured(rng: Generator, prior: Prior, sd: float, log_ratio: float, stopping: bool) -> PairRatio:
    """A row: four pairs, and with ``stopping`` more until its interval is narrow."""
    variant = np.exp(log_ratio + sd * rng.standard_normal(MOST)).tolist()
    for n in range(FIRST, MOST + 1):
        found = pair_ratio(variant[:n], [1.0] * n, prior)
        if not stopping or (found.high - found.low) / 2 / found.value <= NARROW:
            break
    return found


@cache
def equal_rows(prior: Prior) -> list[PairRatio]:
    """Rows in which nothing differs, measured until they are narrow."""
    rng = np.random.default_rng(6)
    return [measured(rng, prior, draw_sd(rng, prior), 0.0, stopping=True) for _ in range(1500)]


@BOTH
def test_ninety_five_of_a_hundred_intervals_hold_the_truth(prior: Prior) -> None:
    rng = np.random.default_rng(4)
    truth = math.log(0.8)
    rows = [measured(rng, prior, draw_sd(rng, prior), truth, stopping=False) for _ in range(1500)]
    assert sum(row.low <= 0.8 <= row.high for row in rows) / len(rows) >= 0.93


@BOTH
def test_they_hold_it_where_pairs_were_added_until_the_interval_was_narrow(prior: Prior) -> None:
    rows = equal_rows(prior)
    assert sum(row.low <= 1 <= row.high for row in rows) / len(rows) >= 0.93


def test_a_row_far_louder_than_the_prior_expects() -> None:
    """0.08 is what HQQ's pairs show, 1.7 standard deviations of its prior above the centre."""
    rng = np.random.default_rng(5)
    rows = [measured(rng, OTHER_KERNELS, 0.08, 0.0, stopping=True) for _ in range(250)]
    assert sum(row.low <= 1 <= row.high for row in rows) / len(rows) >= 0.90
    assert sum(row.pairs == MOST for row in rows) / len(rows) > 0.9


@BOTH
@pytest.mark.parametrize(("rows", "tables"), [(6, 250), (12, 125)])
def test_where_nothing_differs_almost_no_row_is_better_or_worse(rows: int, tables: int, prior: Prior) -> None:
    """A/A, rows as they come and stopped when narrow: at most 2 % of rows, and one table in 20 at most."""
    p_values = [row.p for row in equal_rows(prior)]
    said = [told_apart(p_values[table * rows :][:rows]) for table in range(tables)]
    assert sum(map(sum, said)) / (rows * tables) <= 0.02
    assert sum(map(any, said)) / tables <= 0.05


def test_what_changes_between_runs_is_added_to_every_interval() -> None:
    """Runs that differ by 4.5 % and pairs within them: without it, 54 of 100 intervals hold the truth."""
    rng = np.random.default_rng(8)
    of_run = replace(OTHER_KERNELS, between_runs=0.045)
    held = {OTHER_KERNELS: 0, of_run: 0}
    for _ in range(600):
        hour, sd = 0.045 * rng.standard_normal(), draw_sd(rng, OTHER_KERNELS)
        variant = np.exp(hour + sd * rng.standard_normal(FIRST)).tolist()
        for prior in held:
            row = pair_ratio(variant, [1.0] * FIRST, prior)
            held[prior] += row.low <= 1 <= row.high
    assert held[OTHER_KERNELS] / 600 < 0.6
    assert 0.93 <= held[of_run] / 600 <= 0.98


def test_many_pairs_leave_what_changes_between_runs() -> None:
    """10,000 equal pairs: ± 1.96 times 4 % are left, and a p-value of that normal distribution."""
    found = pair_ratio([0.9] * 10_000, [1.0] * 10_000, Prior(0.012, 0.8, 0.04))
    assert math.log(found.high / found.low) / 2 == pytest.approx(stats.norm.ppf(0.975) * 0.04, rel=1e-3)
    assert found.p == pytest.approx(2 * stats.norm.sf(-math.log(0.9) / 0.04), rel=1e-2)


def test_a_real_difference_is_found() -> None:
    """5 % in twelve rows, at the usual spread: eight of ten are told apart."""
    rng = np.random.default_rng(7)
    said = [
        told_apart(
            [
                measured(rng, SAME_KERNELS, SAME_KERNELS.median, math.log(0.95), stopping=True).p
                for _ in range(12)
            ]
        )
        for _ in range(20)
    ]
    assert sum(map(sum, said)) / 240 > 0.8


@pytest.mark.parametrize(
    ("variant", "baseline", "expected"),
    [
        (Kernels(1, None, []), Kernels(1, None, []), SAME_KERNELS),
        (
            Kernels(1, None, ["prune magnitude (sparsity=0.5)", "distil logits"]),
            Kernels(1, None, []),
            SAME_KERNELS,
        ),
        (Kernels(1, None, ["quantise bnb-nf4"]), Kernels(1, None, []), OTHER_KERNELS),
        (
            Kernels(1, None, ["quantise bnb-nf4", "prune depth"]),
            Kernels(1, None, ["quantise bnb-nf4"]),
            SAME_KERNELS,
        ),
        (Kernels(1, None, []), Kernels(1, None, ["quantise bnb-nf4"]), OTHER_KERNELS),
        (Kernels(1, None, []), Kernels(2, None, []), OTHER_KERNELS),
        (Kernels(1, "gptq", []), Kernels(1, None, []), OTHER_KERNELS),
        (Kernels(1, "gptq", []), Kernels(1, "gptq", []), SAME_KERNELS),
        (Kernels(1, None, ["compile inductor"]), Kernels(1, None, []), OTHER_KERNELS),
    ],
)
def test_only_a_row_with_the_baseline_s_kernels_has_their_prior(
    variant: Kernels, baseline: Kernels, expected: Prior
) -> None:
    assert prior_of(variant, baseline) == expected


@pytest.mark.parametrize(
    ("variant", "baseline", "apart", "expected"),
    [
        (Kernels(1, None, ["a"], 0.03), Kernels(1, None, []), False, 0.03),
        (Kernels(1, None, []), Kernels(1, None, ["a"], 0.03), False, 0.03),
        (Kernels(1, None, ["b"], 0.04), Kernels(1, None, ["a"], 0.03), False, 0.05),
        (Kernels(1, None, ["a"], 0.03), Kernels(1, None, []), True, 0.03),
        (Kernels(1, None, ["a"], 0.03), Kernels(1, None, ["a"], 0.03), False, 0.0),  # it is on both sides
    ],
)
def test_what_changes_between_runs_is_of_kernels_that_differ(
    variant: Kernels, baseline: Kernels, apart: bool, expected: float
) -> None:
    assert prior_of(variant, baseline, apart=apart).between_runs == pytest.approx(expected)
