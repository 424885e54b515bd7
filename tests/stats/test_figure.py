"""A figure as ``run.json`` holds it, there and back, and how far apart two of them are."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats.figure import Figure, Metric, ratio_bounds, value_of
from bench.stats.intervals import Interval, mean_interval, widened

LATENCY = Metric("wait_ms", "ms", "lower", "end − sent", "waiting")
AGREEMENT = Metric("agreement", "1", "higher", "mean [P = Q]", "agreement")
LENGTH = Metric("length", "1", None, "Σ n ÷ Σ m", "length")

numbers = st.floats(-1e9, 1e9)
bounds = st.none() | numbers
notes = st.dictionaries(
    st.sampled_from(["n", "windows", "text", "asked", "phases"]), st.none() | st.integers() | st.text()
)


def between(value: float, below: float, above: float) -> Interval:
    """``value`` with bounds at these distances on the log scale."""
    return Interval(value, value * math.exp(-below), value * math.exp(above))


# ---- there and back ------------------------------------------------------------------------------------


@given(numbers, bounds, bounds, notes)
def test_a_scalar_comes_back_as_it_was(
    value: float, low: float | None, high: float | None, said: dict[str, object]
) -> None:
    found = AGREEMENT.scalar(Interval(value, low, high), **said)
    assert found is not None
    written = json.loads(json.dumps(found.to_json()))
    assert Figure.from_json(written) == found
    assert (found.interval, found.notes, found.sample) == (Interval(value, low, high), said, None)
    assert written | said == written


@given(st.lists(numbers, min_size=1, max_size=70), st.floats(0, 0.2))
def test_a_sample_comes_back_as_it_was(samples: list[float], spread: float) -> None:
    found = LATENCY.distribution(samples, spread)
    assert found is not None
    assert found.sample is not None
    written = json.loads(json.dumps(found.to_json()))
    again = Figure.from_json(written)
    assert again.to_json() == written
    assert (again.value, again.interval) == (found.value, found.interval)
    assert again.value == found.sample.mean == written["mean"]
    assert "value" not in written


def test_a_spread_of_processes_is_in_the_bounds_that_are_written() -> None:
    samples = [10.0, 11.0, 9.0, 10.5, 9.5]
    found = LATENCY.distribution(samples, 0.05)
    wanted = widened(mean_interval(samples), 0.05)
    assert found is not None
    assert found.interval == wanted
    written = found.to_json()
    assert (written["ci_low"], written["ci_high"]) == (wanted.low, wanted.high)


@pytest.mark.parametrize(("metric", "higher"), [(LATENCY, False), (AGREEMENT, True), (LENGTH, None)])
def test_a_figure_says_which_direction_is_better(metric: Metric, higher: bool | None) -> None:
    found = metric.scalar(1.0)
    assert found is not None
    assert found.to_json()["higher_is_better"] is higher


@pytest.mark.parametrize("key", ["unit", "higher_is_better", "formula", "ci_low", "ci_high"])
def test_what_lacks_a_key_is_no_figure(key: str) -> None:
    for found in (LATENCY.scalar(1.0), LATENCY.distribution([1.0, 2.0])):
        assert found is not None
        written = found.to_json()
        del written[key]
        with pytest.raises(KeyError):
            Figure.from_json(written)


def test_what_has_neither_value_nor_sample_is_no_figure() -> None:
    found = LATENCY.scalar(1.0)
    assert found is not None
    written = found.to_json()
    del written["value"]
    with pytest.raises(KeyError):
        Figure.from_json(written)


def test_missing_is_none_and_nought_is_not() -> None:
    assert LATENCY.scalar(None) is LATENCY.distribution([]) is None
    assert value_of(None) is None
    assert value_of(LATENCY.scalar(0.0)) == 0.0


# ---- ratios --------------------------------------------------------------------------------------------


def test_bounds_of_a_ratio_by_hand() -> None:
    """±3 % before and ±4 % after are ±5 %; with a spread of ±12 % they are ±13 %."""
    before, after = between(2.0, 0.03, 0.03), between(1.0, 0.04, 0.04)
    assert ratio_bounds(before, after) == pytest.approx((0.5 * math.exp(-0.05), 0.5 * math.exp(0.05)))
    assert ratio_bounds(before, after, 0.12) == pytest.approx((0.5 * math.exp(-0.13), 0.5 * math.exp(0.13)))


def test_what_lies_below_before_lies_above_the_ratio() -> None:
    low, high = ratio_bounds(between(1.0, 0.3, 0.0), between(1.0, 0.0, 0.0))
    assert (low, high) == pytest.approx((1.0, math.exp(0.3)))
    low, high = ratio_bounds(between(1.0, 0.0, 0.3), between(1.0, 0.4, 0.0))
    assert (low, high) == pytest.approx((math.exp(-0.5), 1.0))


half = st.floats(0, 1)


@given(st.floats(0.01, 100), half, half, st.floats(0.01, 100), half, half, half)
def test_bounds_hold_the_ratio_and_turn_over_with_it(
    before: float, down: float, up: float, after: float, other_down: float, other_up: float, spread: float
) -> None:
    one, other = between(before, down, up), between(after, other_down, other_up)
    low, high = ratio_bounds(one, other, spread)
    assert low is not None
    assert high is not None
    assert low <= after / before * (1 + 1e-9)
    assert high >= after / before * (1 - 1e-9)
    assert ratio_bounds(other, one, spread) == pytest.approx((1 / high, 1 / low))


def test_a_figure_counts_by_its_interval() -> None:
    before, after = between(2.0, 0.03, 0.02), between(1.0, 0.04, 0.01)
    figures = AGREEMENT.scalar(before, n=5), AGREEMENT.scalar(after)
    assert ratio_bounds(*figures) == ratio_bounds(before, after) == ratio_bounds(figures[0], after)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        Interval(1.0, None, None),
        Interval(1.0, None, 2.0),
        Interval(1.0, 0.5, None),
        Interval(1.0, 0.0, 2.0),
        Interval(1.0, -0.5, 2.0),
        Interval(0.0, 0.0, 0.0),
    ],
)
def test_what_has_no_logarithm_gives_no_bounds(odd: Interval | None) -> None:
    sound = between(1.0, 0.1, 0.1)
    assert ratio_bounds(odd, sound) == ratio_bounds(sound, odd) == (None, None)
    if odd is not None:
        assert ratio_bounds(LENGTH.scalar(odd), sound) == (None, None)
