"""Figures of a server from its blocks: arithmetic that is shown, spread between processes, capacities."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest
from fakes import arm_record, run_record, unit
from test_load_blocks import FIRST, SECOND, block, request

from bench.metrics import cost, goodput, latency, throughput, under_load
from bench.metrics.requests import CACHED, ERRORS, RUN_USD
from bench.metrics.under_load import PERCENTILES, _bounded, _capacity, _half, figures, worked
from bench.records import LoadBlock, RunRecord, Sides
from bench.stats.figure import value_of
from bench.stats.intervals import Interval
from bench.stats.pairs import OTHER_KERNELS, pair_ratio

SHOWN = {
    throughput.REQUESTS.key, throughput.OUTPUT.key, throughput.TOTAL.key, ERRORS.key, CACHED.key, RUN_USD.key,
    cost.PER_1K.key, cost.PER_REQUEST.key, goodput.PER_GOOD.key, goodput.GOODPUT.key,
}  # fmt: skip
TOLD = block(request(0, 100, 50, 1, 1, n_cached=4), request(50, 150, 50, 2, n_cached=0), request(60, 9, 0, 1))


def run_of(*blocks: LoadBlock, ttft_ms: float | None = 120.0) -> RunRecord:
    base = arm_record(server={"target": "vllm"}, loads=blocks, solo=(), loaded=None, warm_up=None)
    return replace(run_record(base, utilisation=0.5), spec={"slo": {"ttft_ms": ttft_ms}})


@pytest.mark.parametrize("blocks", [(FIRST, SECOND, TOLD), (TOLD,)], ids=["three", "one"])
def test_the_arithmetic_is_the_figure(blocks: tuple[LoadBlock, ...]) -> None:
    run = run_of(*blocks)
    found, shown = figures(run.arms[0], run), worked(run.arms[0], run)
    assert set(shown) == SHOWN
    for key, arithmetic in shown.items():
        assert re.fullmatch(r"[0-9.e+\-*/() ]+", arithmetic)
        assert eval(arithmetic) == pytest.approx(value_of(found[key]), rel=1e-5), (key, arithmetic)


def test_only_what_there_is_has_arithmetic() -> None:
    run = run_of(FIRST, ttft_ms=None)
    assert set(worked(run.arms[0], run)) == SHOWN - {CACHED.key, goodput.PER_GOOD.key, goodput.GOODPUT.key}
    none = run_of(FIRST, ttft_ms=1.0)
    assert goodput.PER_GOOD.key not in worked(none.arms[0], none)
    assert worked(run_of().arms[0], run_of()) == {}
    assert set(figures(run_of().arms[0], run_of()).values()) == {None}


def test_a_share_of_what_was_reported_only() -> None:
    run = run_of(TOLD)
    assert value_of(figures(run.arms[0], run)[CACHED.key]) == 4 / 20  # the third reply did not say


def searched(*holds: float | None) -> list[LoadBlock]:
    return [replace(FIRST, search=None if rate is None else {"holds": rate}) for rate in holds]


@pytest.mark.parametrize("holds", [(), (None,), (5.0, None), (5.0, 0.0)])
def test_a_capacity_needs_every_block(holds: tuple[float | None, ...]) -> None:
    assert _capacity(searched(*holds)) is None


def test_a_capacity_is_the_mean_with_bounds_as_of_a_ratio() -> None:
    rates = [4.0, 5.0, 6.0, 5.0]
    found = _capacity(searched(*rates))
    expected = pair_ratio(rates, [5.0] * 4, OTHER_KERNELS)
    assert found is not None
    assert found.value == 5.0
    assert found.high == pytest.approx(5 * expected.high / expected.value)
    assert found.low == pytest.approx(25.0 / (found.high or 0.0))


def test_the_half_width_grows_with_the_spread_and_shrinks_with_processes() -> None:
    assert _half([5.0] * 4, OTHER_KERNELS) < _half([4.9, 5.1] * 2, OTHER_KERNELS)
    assert _half([4.5, 5.5] * 8, OTHER_KERNELS) < _half([4.5, 5.5] * 2, OTHER_KERNELS)


def test_bounds_of_a_figure_join_both_spreads() -> None:
    values: list[Any] = [throughput.REQUESTS.scalar(rate) for rate in (4.0, 5.0, 6.0)]
    figure = throughput.REQUESTS.scalar(Interval(5.0, 1.0, 9.0))
    assert figure is not None
    half = math.hypot(_half([4.0, 5.0, 6.0], OTHER_KERNELS), 0.2)
    found = _bounded(figure, values, 0.2, OTHER_KERNELS)
    assert (found.ci_low, found.ci_high) == pytest.approx((5 * math.exp(-half), 5 * math.exp(half)))
    for spoiled in ([*values, None], [*values, throughput.REQUESTS.scalar(0.0)]):
        unbounded = _bounded(figure, spoiled, 0.2, OTHER_KERNELS)
        assert (unbounded.ci_low, unbounded.ci_high) == (None, None)


def test_another_process_of_a_baseline_is_judged_by_its_pairs() -> None:
    """The seconds of a request in each pair; with one pair, or for a variant, nothing is known of others."""
    slow = block(request(0, 100, 50, 1, 1, 1), request(50, 250, 50, 2, 2))
    pairs = [Sides((one,), (FIRST,)) for one in (FIRST, slow, FIRST)]
    units = [unit([], [], number=number, loads=loads) for number, loads in enumerate(pairs)]
    run = replace(run_of(FIRST), arms=(run_of(FIRST).arms[0], arm_record("v")), units=tuple(units))
    times = [0.4 / 2, 0.35 / 2, 0.4 / 2]
    expected = _half(times, OTHER_KERNELS) * math.sqrt(3)
    assert under_load._between(run.arms[0], run) == pytest.approx(expected)
    assert under_load._between(run.arms[1], run) == 0.0
    assert under_load._between(run.arms[0], replace(run, units=tuple(units[:1]))) == 0.0
    void = tuple(replace(one, void="others") for one in units[1:])
    assert under_load._between(run.arms[0], replace(run, units=(units[0], *void))) == 0.0


@pytest.mark.parametrize(("count", "p90"), [(63, False), (64, True)])
def test_a_percentile_needs_enough_requests(count: int, p90: bool) -> None:
    requests = [request(10 * number, 50 + number % 7, 5, 1, 1) for number in range(count)]
    run = run_of(block(*requests))
    found = figures(run.arms[0], run)
    tail = found[PERCENTILES[latency.TTFT, 90].key]
    assert (tail is not None) is p90
    mean = found[latency.TTFT.key]
    assert mean is not None
    assert mean.value == pytest.approx(fmean(50 + number % 7 for number in range(count)))
    if tail is not None:
        assert tail.value == pytest.approx(56.0)
