"""Where a machine and an API cost the same: by hand, at the ends, and as an identity."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.pricing.break_even import OwnServing, break_even, place_of, servers_of
from bench.pricing.hardware import HOURS_PER_MONTH
from bench.stats.intervals import Interval

SECOND = Interval(1.0, 0.9, 1.2)
POSITIVE = st.floats(1e-6, 1e6)


def test_by_hand() -> None:
    """3.60 dollars an hour and a second a request: 0.001 dollars at full use, so half of an API's 0.002."""
    own = OwnServing(3.6, 0.0, SECOND)
    found = break_even(own, 0.002)
    assert found.utilisation == Interval(pytest.approx(0.5), pytest.approx(0.45), pytest.approx(0.6))
    assert found.pays
    assert found.requests_per_month == pytest.approx(0.5 * 730 * 3600)
    assert own.request_usd(0.5) == Interval(0.002, pytest.approx(0.0018), pytest.approx(0.0024))


def test_power_is_paid_for_work_only() -> None:
    """Another 0.36 dollars for an hour of work are 0.0001 a request at any utilisation."""
    own = OwnServing(3.6, 0.36, SECOND)
    assert own.request_usd(0.5).value == pytest.approx(0.0021)
    assert break_even(own, 0.0021).utilisation.value == pytest.approx(0.5)


@pytest.mark.parametrize("api", [0.0, 0.00005, 0.0005])
def test_it_may_never_pay(api: float) -> None:
    """Power alone costs 0.0001, so no API below that can be beaten, nor one below 0.0011."""
    found = break_even(OwnServing(3.6, 0.36, SECOND), api)
    assert not found.pays
    assert found.requests_per_month is None
    assert found.at_full == (pytest.approx(0.0011 / api) if api else math.inf)
    assert math.isinf(found.utilisation.value) == (api <= 0.0001)


@given(hour=POSITIVE, busy=st.floats(0, 1e3), seconds=st.floats(1e-3, 1e4), api=st.floats(1e-9, 1e3))
def test_both_cost_the_same_there(hour: float, busy: float, seconds: float, api: float) -> None:
    own = OwnServing(hour, busy, Interval(seconds, None, None))
    found = break_even(own, api)
    if not found.pays:
        assert own.request_usd(1.0).value > api * (1 - 1e-9)
        return
    share = found.utilisation.value
    if share > 0:
        assert own.request_usd(share).value == pytest.approx(api, rel=1e-6)
        # A whole machine of three such servers answers three times as much, at three times the rent.
        whole = replace(own, servers=3)
        assert break_even(whole, api).requests_per_month == pytest.approx(3 * (found.requests_per_month or 0))
        # The volume is also the month's rent divided by what a request saves.
        saved = api - busy * seconds / 3600
        assert found.requests_per_month == pytest.approx(hour * HOURS_PER_MONTH / saved, rel=1e-6)


@pytest.mark.parametrize("share", [0, -1, 1.01, float("nan")])
def test_utilisation_is_a_share(share: float) -> None:
    with pytest.raises(UsageError, match="utilisation must be above 0"):
        OwnServing(1, 0, SECOND).request_usd(share)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_dollars_are_numbers_from_0(bad: float) -> None:
    with pytest.raises(UsageError, match="from 0"):
        OwnServing(bad, 0, SECOND)
    with pytest.raises(UsageError, match="from 0"):
        break_even(OwnServing(1, 0, SECOND), bad)
    with pytest.raises(UsageError, match="more than 0 s"):
        OwnServing(1, 0, Interval(0, None, None))


@pytest.mark.parametrize(
    ("used", "servers", "place"),
    [(3 / 8, 2, 1 / 2), (3 / 4, 1, 1), (1 / 3, 3, 1 / 3), (1, 1, 1), (2, 1, 2), (1.5, 1, 1.5)],
)
def test_a_machine_is_rented_as_a_whole(used: float, servers: int, place: float) -> None:
    """Two servers of 3 of 8 processors pay for all 8: half of the machine each, and not 2 * 0.375 of it."""
    assert (servers_of(used), place_of(used)) == (servers, place)


def test_the_unused_part_of_a_machine_is_in_the_break_even() -> None:
    """A machine of 8 dollars an hour has 8 processors, and a server uses 3. A request takes a second and an
    API bills 0.002: two servers answer 2 a second, so 8 dollars an hour are 4,000 requests, 5/9 of 7,200."""
    own = OwnServing(3.0, 0.0, SECOND, servers_of(3 / 8), unused_hour_usd=1.0)
    found = break_even(own, 0.002)
    assert found.utilisation.value == pytest.approx(5 / 9)
    assert found.requests_per_month == pytest.approx(4000 * 730)
    assert found.at_full == pytest.approx(5 / 9)
    assert own.request_usd(1.0).value == pytest.approx(3 / 3600)  # as in the run's table
