"""Machines and dollars of a stream: by hand, by what must rise and fall together, and at the edges."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from affine_steps import affine_steps
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.plan.arrivals import Request
from bench.plan.fleet import (
    MOST_LOAD,
    Slo,
    Stream,
    at_rate,
    capacity,
    fleet,
    saturated_rate,
)
from bench.plan.queue_simulation import Reply

STEPS = affine_steps(prompt_token_s=0.001, fixed_s=0.008, each_s=0.002, most=8)
STREAM = Stream(86_400, 50, 11)


def test_the_saturated_rate_by_hand() -> None:
    """One at a time, a request takes 50 ms to read and ten steps of 10 ms: 6.67 a second."""
    assert saturated_rate(replace(STEPS, steps_s=STEPS.steps_s[:1]), STREAM) == pytest.approx(
        1 / 0.15, rel=1e-6
    )


def test_no_limit_and_a_wide_one_are_the_same() -> None:
    """A machine is never loaded above the same share of what saturates it: a limit cannot make it cheaper."""
    free, wide = (capacity(STEPS, STREAM, slo) for slo in (Slo(), Slo(ttft_ms=1e7)))
    assert free.rate == wide.rate == pytest.approx(MOST_LOAD * free.saturated)


def test_the_capacity_is_where_enough_requests_are_still_good() -> None:
    """At the rate found the share is reached, and 3 % above it is not."""
    slo = Slo(ttft_ms=120, tpot_ms=60)
    found = capacity(STEPS, STREAM, slo)
    assert 0 < found.rate < MOST_LOAD * found.saturated
    assert found.at_rate is not None
    assert found.at_rate.good_share >= slo.share
    assert at_rate(STEPS, STREAM, slo, found.rate * 1.03).good_share < slo.share


def test_stricter_limits_leave_less() -> None:
    rates = [capacity(STEPS, STREAM, Slo(ttft_ms=limit)).rate for limit in (1000, 300, 150, 100)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 1.5 * rates[-1]


def test_a_limit_that_not_even_a_lone_request_meets() -> None:
    found = capacity(STEPS, STREAM, Slo(ttft_ms=49))
    assert (found.rate, found.at_rate) == (0.0, None)
    assert found.alone.ttft_p50_ms == pytest.approx(50)
    with pytest.raises(UsageError, match="however many"):
        fleet(found.rate, STREAM, 1.0)


def test_machines_and_dollars_by_hand() -> None:
    """One request a second all day; a server takes 0.3, so four of them, on two machines of two."""
    found = fleet(0.3, STREAM, 0.5, share=0.5)
    assert (found.most, found.least) == (2, 2)
    assert found.fixed_usd == pytest.approx(2 * 0.5 * 730)
    assert found.scaled_usd == pytest.approx(found.fixed_usd)
    assert found.load == pytest.approx(1 / (4 * 0.3))


def test_a_server_of_several_machines() -> None:
    found = fleet(0.6, STREAM, 4.0, share=8)
    assert found.most == 16
    assert found.load == pytest.approx(1 / 1.2)


def test_a_peak_needs_more_machines_for_a_part_of_the_day() -> None:
    found = fleet(0.3, replace(STREAM, peak=2.0), 1.0)
    assert found.most == math.ceil(2 / 0.3)
    assert found.least == 1
    assert found.scaled_usd < found.fixed_usd


def test_what_runs_all_day_is_reserved() -> None:
    """A reserved machine costs 60 % of one by the hour, so it pays for itself in 60 % of the hours."""
    stream = replace(STREAM, peak=1.9)
    found = fleet(0.1, stream, 1.0, reserved_usd=0.6)
    assert found.mixed_usd is not None
    assert found.reserved is not None
    assert found.mixed_usd < min(found.scaled_usd, 0.6 * found.fixed_usd)
    needed = sorted(math.ceil(rate / 0.1 - 1e-9) for rate in stream.rates())
    hours = sum(count >= found.reserved for count in needed)
    assert hours / 24 >= 0.6
    assert sum(count >= found.reserved + 1 for count in needed) / 24 <= 0.6 or found.reserved == needed[-1]


def test_a_reserved_machine_that_is_dearer_is_not_taken() -> None:
    found = fleet(0.1, STREAM, 1.0, reserved_usd=1.1)
    assert (found.reserved, found.mixed_usd) == (0, found.scaled_usd)


@settings(deadline=None)
@given(
    rate=st.floats(1e-3, 1e3),
    per_day=st.floats(1, 1e9),
    peak=st.floats(1, 2),
    share=st.sampled_from([0.125, 0.5, 1.0, 2.0, 8.0]),
)
def test_a_fleet_is_large_enough_and_not_larger(
    rate: float, per_day: float, peak: float, share: float
) -> None:
    stream = Stream(per_day, 10, 10, peak)
    found = fleet(rate, stream, 1.0, share)
    servers = found.most / share
    busiest = max(stream.rates())
    assert servers * rate >= busiest * (1 - 1e-6)
    spare = math.ceil(share) + 1  # one machine more than needed would hold this many too many
    assert (found.most - spare) / share * rate < busiest
    assert found.least <= found.most
    assert found.scaled_usd <= found.fixed_usd * (1 + 1e-9)
    assert sum(stream.rates()) / 24 == pytest.approx(per_day / 86_400)


def test_good_is_both_limits() -> None:
    reply = Reply(Request(0.0, 1, 11), first_s=0.1, last_s=0.6)
    assert Slo(100, 50).good(reply)
    assert not Slo(99, 50).good(reply)
    assert not Slo(100, 49).good(reply)
    assert Slo(None, 50).good(reply)
    assert Slo(100, 1).good(Reply(Request(0.0, 1, 1), 0.1, 0.1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Slo(ttft_ms=0),
        lambda: Slo(tpot_ms=float("inf")),
        lambda: Slo(share=1.0),
        lambda: Slo(share=0.0),
        lambda: Stream(0, 1, 1),
        lambda: Stream(float("nan"), 1, 1),
        lambda: Stream(1e13, 1, 1),
        lambda: Stream(1, float("nan"), 1),
        lambda: Stream(1, 1, 1e308),
        lambda: Stream(1, 0.4, 1),
        lambda: Stream(float("inf"), 1, 1),
        lambda: Stream(1, 1, 1, peak=2.5),
        lambda: Stream(1, 1, 1, peak=0.5),
    ],
)
def test_what_no_day_and_no_limit_can_be(make: object) -> None:
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]


def waits_at_most(load: float, services: float) -> float:
    """Return the chance that a request of an M/D/1 queue waits at most so many service times (Crommelin)."""
    terms = (
        (load * (k - services)) ** k / math.factorial(k) * math.exp(-load * (k - services))
        for k in range(int(services) + 1)
    )
    return (1 - load) * math.fsum(terms)


@pytest.mark.parametrize("limit_services", [1.8, 2.0, 3.0, 5.0])
def test_the_capacity_is_that_of_the_formula(limit_services: float) -> None:
    """Of 1,200 plain random requests a dozen are late: the rate of a seed was up to 40 % from the formula."""
    service_s = 0.15  # 50 ms to read, ten steps of 10 ms
    alone = replace(STEPS, steps_s=STEPS.steps_s[:1])
    found = capacity(alone, STREAM, Slo(ttft_ms=50 + 1000 * service_s * (limit_services - 1)))
    low, high = 0.0, MOST_LOAD
    for _ in range(50):
        middle = (low + high) / 2
        enough = waits_at_most(middle, limit_services - 1) >= 0.99
        low, high = (middle, high) if enough else (low, middle)
    assert found.rate * service_s == pytest.approx(low, rel=0.08)


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_the_latency_of_a_plan_is_that_of_the_formula(load: float) -> None:
    service_s, alone = 0.15, replace(STEPS, steps_s=STEPS.steps_s[:1])
    found = at_rate(alone, STREAM, Slo(), load / service_s)
    services = (found.ttft_p95_ms / 1000 - 0.05) / service_s
    assert waits_at_most(load, services) == pytest.approx(0.95, abs=0.006)
