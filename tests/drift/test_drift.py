"""Drift figures of hand-made windows and replies, with answers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes import arm_record, drift_window, timed_batch
from hypothesis import given
from hypothesis import strategies as st

from bench.drift import generations, kl_and_perplexity, moments
from bench.records import ArmRecord, DriftWindow
from bench.stats.intervals import Interval

LN = math.log
# Two windows of unequal length; true tokens have P = 1/2, 1/4, 1/8 and Q = 1/4, 1/4, 1/2.
WINDOWS = (
    drift_window([0.1, 0.3], [1, 0], [LN(1 / 2), LN(1 / 4)], [LN(1 / 4), LN(1 / 4)]),
    drift_window([0.8], [1], [LN(1 / 8)], [LN(1 / 2)]),
)


def value(found: Interval | None) -> float:
    assert found is not None
    return found.value


# ---- distributions -------------------------------------------------------------------------------


def test_means_are_over_positions_not_over_windows() -> None:
    assert value(kl_and_perplexity.mean_kl(WINDOWS)) == pytest.approx(1.2 / 3)
    assert value(kl_and_perplexity.top1_agreement(WINDOWS)) == pytest.approx(2 / 3)


def test_quantiles_of_kl() -> None:
    assert kl_and_perplexity.kl_quantile(WINDOWS, 1.0) == 0.8
    assert kl_and_perplexity.kl_quantile(WINDOWS, 0.0) == 0.1
    assert kl_and_perplexity.kl_quantile(WINDOWS, 0.5) == 0.3
    assert kl_and_perplexity.kl_quantile(WINDOWS, 0.99) == pytest.approx(0.3 + 0.98 * 0.5)


def test_perplexity_is_the_geometric_mean() -> None:
    """(1/2 · 1/4 · 1/8)^(−1/3) = 64^(1/3) = 4."""
    assert value(kl_and_perplexity.perplexity([w.ln_p_base for w in WINDOWS])) == pytest.approx(4)
    variant = kl_and_perplexity.perplexity([w.ln_p_variant for w in WINDOWS])
    assert value(variant) == pytest.approx(32 ** (1 / 3))


def test_the_perplexity_ratio_is_the_ratio_of_perplexities() -> None:
    assert value(kl_and_perplexity.perplexity_ratio(WINDOWS)) == pytest.approx(32 ** (1 / 3) / 4)


def test_window_means_are_one_a_window_to_nine_digits() -> None:
    assert kl_and_perplexity.window_means([[0.1, 0.2, 0.2], [1e-12 / 3]]) == [0.166666667, 3.33333333e-13]
    assert kl_and_perplexity.window_means([]) == []


def test_what_is_lost_of_ln_p_is_baseline_minus_variant() -> None:
    assert kl_and_perplexity.ln_p_lost(WINDOWS)[0] == pytest.approx([LN(2), 0])
    assert kl_and_perplexity.ln_p_lost(WINDOWS)[1] == pytest.approx([-LN(4)])


def test_rms_delta_p() -> None:
    """Δp = −1/4, 0, 3/8."""
    assert value(kl_and_perplexity.rms_delta_p(WINDOWS)) == pytest.approx(math.sqrt((1 / 16 + 9 / 64) / 3))


windows = st.lists(
    st.lists(
        st.tuples(st.floats(0, 5), st.integers(0, 1), st.floats(-9, -0.01), st.floats(-9, -0.01)),
        min_size=1, max_size=6,
    ).map(lambda rows: drift_window(*zip(*rows, strict=True))),
    min_size=5, max_size=9,
)  # fmt: skip


@given(windows)
def test_every_figure_equals_its_formula(found: list[DriftWindow]) -> None:
    kld, same, ln_p, ln_q = (
        np.concatenate([getattr(w, key) for w in found])
        for key in ("kld", "same_top", "ln_p_base", "ln_p_variant")
    )
    wanted = {
        "mean_kl": kld.mean(),
        "top1_agreement": same.mean(),
        "perplexity_ratio": np.exp((ln_p - ln_q).mean()),
        "rms_delta_p": np.sqrt(((np.exp(ln_q) - np.exp(ln_p)) ** 2).mean()),
    }
    for name, expected in wanted.items():
        interval = getattr(kl_and_perplexity, name)(found)
        assert interval.value == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert interval.low - 1e-9 <= interval.value <= interval.high + 1e-9
    assert kl_and_perplexity.kl_quantile(found, 0.99) == pytest.approx(np.quantile(kld, 0.99))


def test_the_pairing_makes_the_ratio_certain() -> None:
    """Texts differ a lot in difficulty, the two models hardly: the interval of the ratio knows."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(12):
        base = rng.normal(-3, 0.2, 30) + rng.normal(0, 1)
        found.append(drift_window([0.0] * 30, [1] * 30, base, base - 0.01 - rng.normal(0, 0.001, 30)))
    ratio = kl_and_perplexity.perplexity_ratio(found)
    own = kl_and_perplexity.perplexity([w.ln_p_base for w in found])
    assert ratio is not None
    assert own is not None
    assert ratio.low is not None
    assert own.low is not None
    assert ratio.high is not None
    assert own.high is not None
    assert ratio.value == pytest.approx(math.exp(0.01), rel=1e-3)
    assert (ratio.high - ratio.low) / ratio.value < 0.01 * (own.high - own.low) / own.value


def test_no_floor_without_a_measured_one() -> None:
    assert kl_and_perplexity.kl_floor(None) is None
    assert kl_and_perplexity.kl_floor(arm_record()) is None
    assert kl_and_perplexity.kl_floor(arm_record(floor=WINDOWS)) == pytest.approx(0.4)


# ---- generations ---------------------------------------------------------------------------------


def arm(name: str, *replies: list[int], end_ids: tuple[int, ...] = (2,)) -> ArmRecord:
    """One request a batch."""
    batches = tuple(timed_batch(0, [1] * len(reply), 2, [1], [reply]) for reply in replies)
    return arm_record(name, solo=batches, end_ids=end_ids)


def test_a_reply_ends_before_its_end_token() -> None:
    assert generations.replies(arm("v", [5, 6, 2, 7], [2, 5], [5, 6, 7, 8])) == [(5, 6), (), (5, 6, 7, 8)]
    assert generations.replies(arm("v", [5, 9, 2, 7], end_ids=(2, 9))) == [(5,)]
    assert generations.replies(arm("v", [5, 2, 7], end_ids=())) == [(5, 2, 7)]


def test_replies_keep_the_order_of_requests_over_batches() -> None:
    two = arm_record(
        solo=(
            timed_batch(0, [1, 2], 2, [1, 1], [[10, 11], [20, 21]]),
            timed_batch(3, [4, 5], 5, [1], [[30, 31]]),
        )
    )
    assert generations.replies(two) == [(10, 11), (20, 21), (30, 31)]


def test_exact_match_and_first_divergence() -> None:
    base = arm("baseline", [5, 6, 7, 8], [5, 6, 7, 8], [5, 2, 1, 1], [9, 9, 9, 9])
    other = arm("v", [5, 6, 7, 8], [5, 6, 0, 8], [5, 2, 3, 3], [1, 9, 9, 9])
    pairs = generations.pairs(base, other)
    assert value(generations.exact_match(pairs)) == 0.5  # what follows the end does not count
    assert value(generations.first_divergence(pairs)) == (4 + 2 + 1 + 0) / 4


def test_a_reply_that_is_the_beginning_of_the_other_diverges_at_its_end() -> None:
    pairs = generations.pairs(arm("baseline", [5, 6, 7, 8]), arm("v", [5, 6, 2, 8]))
    assert value(generations.first_divergence(pairs)) == 2
    assert value(generations.exact_match(pairs)) == 0


def test_length_ratio_is_a_ratio_of_sums() -> None:
    pairs = generations.pairs(
        arm("baseline", [5, 5, 5, 5], [5, 5, 2, 5]), arm("v", [5, 2, 5, 5], [5, 5, 2, 5])
    )
    found = generations.length_ratio(pairs)
    assert found is not None
    assert found.value == 3 / 6


def test_nothing_said_has_no_length_ratio() -> None:
    assert generations.length_ratio(generations.pairs(arm("baseline", [2, 5]), arm("v", [5, 5]))) is None


def test_the_share_of_replies_cut_by_the_limit() -> None:
    base, other = arm("baseline", [5, 5, 5], [5, 2, 5]), arm("v", [5, 5, 5], [5, 5, 5])
    assert generations.cut_share(base, other) == 3 / 4


def test_replies_to_other_requests_are_not_compared() -> None:
    with pytest.raises(ValueError, match="zip"):
        generations.pairs(arm("baseline", [5], [6]), arm("v", [5]))


@pytest.mark.parametrize("nats", [34.0, 35.0, 800.0, 1e6])
def test_a_model_that_predicts_nothing_has_no_perplexity(nats: float) -> None:
    """exp(34) is below 10^15, exp(35) above; exp(800) is no number."""
    windows = [drift_window([nats] * 2, [0, 0], [-1.0, -1.0], [-nats, -nats]) for _ in range(6)]
    found = kl_and_perplexity.perplexity([one.ln_p_variant for one in windows])
    ratio, paired = kl_and_perplexity.perplexity_ratio(windows), moments.perplexities(windows)
    if nats < 34.5:
        assert value(found) == pytest.approx(math.exp(34))
        assert value(ratio) == pytest.approx(math.exp(33))
        assert paired is not None
    else:
        assert (found, paired) == (None, None)
        assert ratio is None or nats == 35  # exp(34) times as much is still kept
    assert value(kl_and_perplexity.mean_kl(windows)) == nats
