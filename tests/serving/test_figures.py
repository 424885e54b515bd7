"""Every figure of a load from samples whose times are data: to the digit, and errors improve none."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples_of_serving import MS, sample

from bench.errors import UsageError
from bench.metrics.requests import Limits, counts, figures
from bench.pricing.cost import Price
from bench.records.samples import Sample
from bench.stats.figure import value_of

PRICE = Price(hourly_usd=3.6)  # a thousandth of a dollar a second
NONE = Limits({})


def values(samples: list[Sample], limits: Limits = NONE) -> dict[str, float | None]:
    return {key: value_of(one) for key, one in figures(samples, limits, PRICE).items()}


def test_the_figures_of_two_requests() -> None:
    found = values([sample(0), sample(1, scheduled=100, sent=140, ttft=300, tokens=(1, 2, 1))])
    wall_s = 0.480
    assert found["ttft_ms"] == 200
    assert found["ttft_sched_ms"] == 220
    assert found["e2el_ms"] == (160 + 340) / 2
    assert found["e2el_sched_ms"] == (160 + 380) / 2
    assert found["tpot_ms"] == pytest.approx((20 + 40 / 3) / 2)
    assert found["itl_ms"] == pytest.approx((3 * 20 + 2 * 10 + 20) / 6)
    assert found["icl_ms"] == 20
    assert found["scheduling_error_ms"] == 20
    assert found["request_throughput"] == pytest.approx(2 / wall_s)
    assert found["output_throughput"] == pytest.approx(8 / wall_s)
    assert found["total_token_throughput"] == pytest.approx(28 / wall_s)
    assert found["cost_of_run_usd"] == pytest.approx(wall_s / 1000)
    assert found["cost_per_request_usd"] == pytest.approx(wall_s / 2000)
    assert found["cost_per_1k_tokens_usd"] == pytest.approx(wall_s / 28)
    assert "cost_per_good_request_usd" not in found


def test_a_good_request_meets_every_limit_from_its_scheduled_arrival() -> None:
    late = sample(1, scheduled=0, sent=450)
    slow = sample(2, gap=60)
    single = sample(3, tokens=(1,))
    limits = Limits({"ttft": 500, "tpot": 50})
    assert [limits.good(one) for one in (sample(0), late, slow, single)] == [True, False, False, True]
    found = values([sample(0), late, slow, single], limits)
    assert found["good_fraction"] == 0.5
    assert found["cost_per_good_request_usd"] == pytest.approx(0.610 / 1000 / 2)


STATUSES = ("failed", "cut short")


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.fault(24)
def test_an_error_improves_no_number(status: str) -> None:
    """A request that failed at once is not a fast one: it costs, and it is not counted as served."""
    limits = Limits({"ttft": 500})
    fine = [sample(one, scheduled=100 * one) for one in range(4)]
    bad = sample(4, scheduled=400, ttft=1, tokens=(1,), status=status)
    before, after = values(fine, limits), values([*fine, bad], limits)
    for key in ("ttft_ms", "itl_ms", "tpot_ms", "e2el_ms"):
        assert after[key] == before[key]
    assert after["error_rate"] == pytest.approx(0.2)
    assert after["good_fraction"] == 0.8
    for key in ("request_throughput", "output_throughput", "request_goodput"):
        assert (after[key] or 0) <= (before[key] or 0)
    assert (after["cost_per_good_request_usd"] or 0) >= (before["cost_per_good_request_usd"] or 1)


def test_no_good_request_has_no_price_and_no_reply_no_figures() -> None:
    assert values([sample(0)], Limits({"ttft": 1}))["cost_per_good_request_usd"] is None
    found = values([sample(0, status="failed", tokens=())], Limits({"ttft": 1}))
    assert found["error_rate"] == 1
    assert found["good_fraction"] == 0
    assert {found[key] for key in ("ttft_ms", "request_throughput", "cost_per_request_usd", "tpot_ms")} == {
        None
    }


@pytest.mark.parametrize(
    ("n", "known"), [(63, []), (64, ["p90"]), (130, ["p90", "p95"]), (662, ["p90", "p95", "p99"])]
)
def test_percentiles_are_none_below_their_counts(n: int, known: list[str]) -> None:
    found = figures([sample(one, scheduled=one, ttft=one + 1) for one in range(n)], NONE, None)["ttft_ms"]
    assert found is not None
    said = found.to_json()
    assert [key for key in ("p90", "p95", "p99") if said[key] is not None] == known


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.lists(st.integers(0, 10**9), min_size=30, max_size=30),
)
def test_the_identity_of_a_request(tokens: list[int], gaps: list[int]) -> None:
    """Over one request the sum of ITL is last − first, and TPOT is its mean."""
    times = [5 * MS]
    for gap in gaps[: len(tokens) - 1]:
        times.append(times[-1] + gap)
    one = sample(0, events_ns=tuple(times), tokens=tuple(tokens), end_ns=times[-1])
    assert math.fsum(one.itl_ms()) == pytest.approx((times[-1] - times[0]) / 1e6)
    if len(tokens) > 1:
        assert one.tpot_ms == pytest.approx(math.fsum(one.itl_ms()) / len(one.itl_ms()))
    else:
        assert one.tpot_ms is None


def test_counts_say_what_is_not_sure() -> None:
    found = counts([sample(0, attempts=3, verified=False, tokens=(2, 1)), sample(1, reconnects=1)], NONE)
    assert (found.retries, found.reconnects, found.unverified, found.several_first) == (2, 1, 1, 1)


def test_a_sample_is_read_back_from_its_json() -> None:
    one = replace(sample(3, tokens=(1, 2)), reason="“x”")
    assert Sample.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize("limits", [{"ttft": 0.0}, {"ttft": math.inf}, {"tbt": 5.0}, {"tpot": math.nan}])
def test_limits_that_are_none(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Limits(limits)
