"""The identities of cost, and what has no answer is None or refused, never 0."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.pricing.cost import (
    Price,
    Usage,
    break_even_requests,
    device_share,
    energy_bill,
    price_of,
    run_cost,
    split_by_phase,
)
from bench.pricing.hardware import parse_price

USAGE = Usage(
    wall_s=100.0,
    requests_ok=10,
    input_tokens=4000,
    output_tokens=1000,
    requests_good=8,
    prefill_s=20.0,
    decode_s=60.0,
)
OWNED = Price(hourly_usd=0.09, usd_per_kwh=0.2, pue=1.5, power_watts=360.0, power_basis="declared")
BLOCK: dict[str, object] = {
    "id": "box",
    "name": "A box",
    "date": "2026-01-31",
    "source": "somebody's price page",
    "currency": "USD",
}
CLOUD: dict[str, object] = {
    **BLOCK,
    "kind": "cpu",
    "ownership": "rented",
    "includes_power": True,
    "usd_per_hour": 0.4,
    "vcpus": 8,
}
CARD: dict[str, object] = {
    **BLOCK,
    "kind": "gpu",
    "ownership": "owned",
    "includes_power": False,
    "gpus": 2,
    "purchase_usd": 1600.0,
    "overhead": 0.5,
    "life_hours": 24000.0,
    "usd_per_kwh": 0.2,
    "pue": 1.1,
    "average_watts": 400.0,
}

amounts = st.floats(min_value=1e-3, max_value=1e4)
counts = st.integers(min_value=1, max_value=10**9)
prices = st.builds(Price, amounts, st.floats(0.01, 64), st.floats(0.01, 1))
usages = st.builds(Usage, amounts, counts, counts, counts, st.none(), amounts, amounts)


class TestIdleHours:
    """The example of docs/prices.md: 1,600 dollars and half as much over 24,000 hours is 0.10 an hour."""

    ONE_HOUR = Usage(wall_s=3600.0, requests_ok=1, input_tokens=600, output_tokens=400)

    def test_by_hand(self) -> None:
        card = parse_price({**CARD, "gpus": 1, "idle_watts": 100.0}, "box.yaml")
        cost = run_cost(price_of(card, utilisation=0.25), self.ONE_HOUR)
        assert cost.capital_usd == pytest.approx(0.40)  # 0.10 USD * 1 h / 0.25
        working, waiting = (
            0.4 * 0.20 * 1.1,
            3 * 0.1 * 0.20 * 1.1,
        )  # kWh * USD/kWh * pue; 1 h / 0.25 - 1 h = 3 h
        assert cost.energy_usd == pytest.approx(working + waiting)
        assert cost.run_usd == pytest.approx(0.554)
        assert cost.power_basis == "declared"

    def test_measured_joules_are_not_divided_and_waiting_is_added(self) -> None:
        card = price_of(parse_price({**CARD, "gpus": 1, "idle_watts": 100.0}, "box.yaml"), utilisation=0.25)
        usd, basis = energy_bill(card, replace(self.ONE_HOUR, energy_j=0.3 * 3.6e6))
        assert (usd, basis) == (pytest.approx((0.3 + 0.3) * 0.20 * 1.1), "measured")

    def test_a_machine_that_never_waits_pays_nothing_for_waiting(self) -> None:
        idle = price_of(parse_price({**CARD, "idle_watts": 100.0}, "box.yaml"))
        assert run_cost(idle, USAGE) == run_cost(replace(idle, idle_watts=0.0), USAGE)

    @pytest.mark.parametrize("utilisation", [0.1, 0.5, 1.0])
    def test_without_idle_watts_the_bill_is_the_one_of_before(self, utilisation: float) -> None:
        price = price_of(parse_price(CARD, "box.yaml"), utilisation=utilisation)
        assert energy_bill(price, USAGE)[0] == 400.0 * 2 * 100.0 * (0.2 * 1.1 / 3.6e6)

    def test_both_gpus_wait(self) -> None:
        one, two = (
            price_of(parse_price({**CARD, "gpus": gpus, "idle_watts": 50.0}, "box.yaml"), utilisation=0.5)
            for gpus in (1, 2)
        )
        assert energy_bill(two, USAGE)[0] == pytest.approx(2 * energy_bill(one, USAGE)[0])

    @pytest.mark.parametrize("watts", [-1.0, math.nan, math.inf])
    def test_watts_that_are_none(self, watts: float) -> None:
        with pytest.raises(UsageError, match="idle_watts"):
            replace(OWNED, idle_watts=watts)

    def test_a_price_with_power_has_no_idle_bill(self) -> None:
        with pytest.raises(UsageError, match="count it twice"):
            Price(hourly_usd=1.0, idle_watts=5.0)


class TestIdentities:
    def test_by_hand(self) -> None:
        cost = run_cost(Price(hourly_usd=3.6, devices=2, utilisation=0.5), USAGE)
        assert cost.run_usd == cost.capital_usd == pytest.approx(0.4)
        assert cost.energy_usd == 0
        assert cost.per_request_usd == pytest.approx(0.04)
        assert cost.per_good_request_usd == pytest.approx(0.05)
        assert cost.per_1k_tokens_usd == pytest.approx(0.08)
        assert cost.per_1k_input_tokens_usd == pytest.approx(0.4 * 0.25 / 4)
        assert cost.per_1k_output_tokens_usd == pytest.approx(0.4 * 0.75 / 1)
        assert cost.per_1m_all_on_input_usd == pytest.approx(100)
        assert cost.per_1m_all_on_output_usd == pytest.approx(400)

    @given(prices, usages)
    def test_the_additive_split_sums_to_the_run(self, price: Price, usage: Usage) -> None:
        cost = run_cost(price, usage)
        assert cost.per_1k_input_tokens_usd is not None
        assert cost.per_1k_output_tokens_usd is not None
        input_usd = cost.per_1k_input_tokens_usd * usage.input_tokens / 1000
        output_usd = cost.per_1k_output_tokens_usd * usage.output_tokens / 1000
        assert input_usd + output_usd == pytest.approx(cost.run_usd)

    @given(prices, usages)
    def test_alternative_denominators_add_as_reciprocals(self, price: Price, usage: Usage) -> None:
        cost = run_cost(price, usage)
        assert cost.per_1m_all_on_input_usd is not None
        assert cost.per_1m_all_on_output_usd is not None
        total = 1000 * cost.per_1k_tokens_usd
        parts = 1 / cost.per_1m_all_on_input_usd + 1 / cost.per_1m_all_on_output_usd
        assert 1 / total == pytest.approx(parts)

    @given(amounts, st.integers(1, 64), usages)
    def test_inferencex_equality(self, hourly_usd: float, devices: int, usage: Usage) -> None:
        cost = run_cost(Price(hourly_usd, devices), usage)
        tokens_per_s_per_device = (usage.input_tokens + usage.output_tokens) / usage.wall_s / devices
        expected = hourly_usd / (tokens_per_s_per_device * 3600 / 1e6)
        assert 1000 * cost.per_1k_tokens_usd == pytest.approx(expected)

    @pytest.mark.parametrize(("hourly_usd", "expected"), [(1.30, 0.3611), (1.41, 0.3917), (1.95, 0.5417)])
    def test_the_figures_of_inferencex(self, hourly_usd: float, expected: float) -> None:
        """H100, H200 and B200 at 1,000 tokens a second: dollars a million tokens, as it publishes them."""
        cost = run_cost(Price(hourly_usd), Usage(1.0, 1, 600, 400))
        assert round(1000 * cost.per_1k_tokens_usd, 4) == expected

    @given(prices, usages, st.integers(2, 9))
    def test_capital_is_linear_in_price_devices_and_time(self, price: Price, usage: Usage, k: int) -> None:
        once = run_cost(price, usage).run_usd
        for scaled in (
            replace(price, hourly_usd=price.hourly_usd * k),
            replace(price, devices=price.devices * k),
        ):
            assert run_cost(scaled, usage).run_usd == pytest.approx(k * once)
        assert run_cost(price, replace(usage, wall_s=usage.wall_s * k)).run_usd == pytest.approx(k * once)

    def test_half_busy_costs_twice(self) -> None:
        half, full = Price(1.0, utilisation=0.5), Price(1.0)
        assert run_cost(half, USAGE).run_usd == 2 * run_cost(full, USAGE).run_usd


class TestEnergy:
    def test_a_kilowatt_hour_measured(self) -> None:
        usd, basis = energy_bill(OWNED, replace(USAGE, energy_j=3.6e6))
        assert usd == pytest.approx(0.2 * 1.5)
        assert basis == "measured"

    def test_declared_watts_when_nothing_was_measured(self) -> None:
        usd, basis = energy_bill(replace(OWNED, devices=0.5), USAGE)
        assert usd == pytest.approx(360 * 0.5 * 100 / 3.6e6 * 0.2 * 1.5)
        assert basis == "declared"

    def test_measured_wins_over_declared_and_the_cost_says_so(self) -> None:
        assert run_cost(OWNED, replace(USAGE, energy_j=1.0)).power_basis == "measured"
        assert run_cost(OWNED, USAGE).power_basis == "declared"

    def test_energy_joins_capital_and_is_split_with_it(self) -> None:
        cost = run_cost(OWNED, replace(USAGE, energy_j=3.6e6))
        assert cost.capital_usd == pytest.approx(0.09 * 100 / 3600)
        assert cost.run_usd == cost.capital_usd + cost.energy_usd
        assert sum(filter(None, split_by_phase(cost.run_usd, USAGE))) == pytest.approx(cost.run_usd)

    def test_utilisation_does_not_scale_the_energy_bill(self) -> None:
        assert energy_bill(replace(OWNED, utilisation=0.1), USAGE) == energy_bill(OWNED, USAGE)

    def test_measured_joules_are_not_billed_on_a_price_that_holds_power(self) -> None:
        cost = run_cost(Price(1.0), replace(USAGE, energy_j=3.6e6))
        assert (cost.energy_usd, cost.power_basis) == (0, "included")

    @pytest.mark.parametrize("extra", [{"usd_per_kwh": 0.2}, {"power_watts": 300.0}])
    def test_paying_for_power_twice_is_refused(self, extra: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match="count it twice"):
            Price(1.0, power_basis="included", **extra)

    def test_power_that_must_be_measured_and_was_not_is_refused(self) -> None:
        price = Price(1.0, usd_per_kwh=0.2, power_basis="measured")
        assert energy_bill(price, replace(USAGE, energy_j=1.0))[1] == "measured"
        with pytest.raises(UsageError, match="not measured"):
            run_cost(price, USAGE)

    def test_declared_power_needs_its_watts_and_its_tariff(self) -> None:
        with pytest.raises(UsageError, match="power_watts"):
            Price(1.0, usd_per_kwh=0.2, power_basis="declared")
        with pytest.raises(UsageError, match="usd_per_kwh"):
            Price(1.0, power_watts=300.0, power_basis="declared")


class TestMissing:
    @pytest.mark.parametrize("good", [None, 0])
    def test_no_good_request(self, good: int | None) -> None:
        assert run_cost(Price(1.0), replace(USAGE, requests_good=good)).per_good_request_usd is None

    @pytest.mark.parametrize("phases", [(None, 1.0), (1.0, None), (None, None), (0.0, 0.0)])
    def test_phases_not_timed_apart(self, phases: tuple[float | None, float | None]) -> None:
        cost = run_cost(Price(1.0), replace(USAGE, prefill_s=phases[0], decode_s=phases[1]))
        assert cost.per_1k_input_tokens_usd is None
        assert cost.per_1k_output_tokens_usd is None
        assert cost.per_1m_all_on_output_usd is not None

    def test_prefill_only(self) -> None:
        usage = replace(USAGE, output_tokens=0, decode_s=0.0)
        cost = run_cost(Price(1.0), usage)
        assert cost.per_1k_input_tokens_usd == pytest.approx(cost.per_1k_tokens_usd)
        assert cost.per_1k_output_tokens_usd is None
        assert cost.per_1m_all_on_output_usd is None

    @pytest.mark.parametrize("gone", ["input_tokens", "output_tokens"])
    def test_a_phase_whose_tokens_are_missing_leaves_no_split(self, gone: str) -> None:
        changes: dict[str, Any] = {gone: 0}
        assert split_by_phase(1.0, replace(USAGE, **changes)) == (None, None)


class TestRefusals:
    @pytest.mark.parametrize("name", ["hourly_usd", "devices", "utilisation", "pue"])
    @pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
    def test_a_price_out_of_range(self, name: str, value: float) -> None:
        changes: dict[str, Any] = {"hourly_usd": 1.0, name: value}
        with pytest.raises(UsageError, match=name):
            Price(**changes)

    @pytest.mark.parametrize("changes", [{"utilisation": 1.01}, {"utilisation": 60.0}, {"pue": 0.9}])
    def test_fractions_the_wrong_way_round(self, changes: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match="utilisation"):
            Price(1.0, **changes)

    @pytest.mark.parametrize(
        "changes",
        [
            {"wall_s": 0.0},
            {"wall_s": math.nan},
            {"requests_ok": 0},
            {"input_tokens": 0, "output_tokens": 0},
            {"input_tokens": -1},
            {"requests_good": -1},
            {"requests_good": 11},
            {"prefill_s": -1.0},
            {"decode_s": math.nan},
            {"energy_j": 0.0},
            {"energy_j": math.inf},
        ],
    )
    def test_a_run_in_which_nothing_was_measured(self, changes: dict[str, Any]) -> None:
        with pytest.raises(UsageError):
            replace(USAGE, **changes)


class TestDeviceShare:
    @pytest.mark.parametrize(("threads", "share"), [(None, 1.0), (1, 0.125), (8, 1.0), (64, 1.0)])
    def test_threads_of_a_cpu_instance(self, threads: int | None, share: float) -> None:
        assert device_share(parse_price(CLOUD, "x"), threads) == share

    @pytest.mark.parametrize("threads", [None, 1, 64])
    def test_gpus_are_counted_whatever_the_threads(self, threads: int | None) -> None:
        assert device_share(parse_price(CARD, "x"), threads) == 2.0

    @pytest.mark.parametrize(("devices", "share"), [(1, 2.0), (2, 2.0), (4, 4.0)])
    def test_a_model_that_is_split_pays_for_all_its_gpus(self, devices: int, share: float) -> None:
        """The price is of two GPUs, which a run of two does not pay twice."""
        assert device_share(parse_price(CARD, "x"), None, devices) == share

    def test_a_model_that_is_split_over_processes_pays_for_the_threads_of_each(self) -> None:
        assert device_share(parse_price(CLOUD, "x"), 2, 2) == 0.5
        assert device_share(parse_price(CLOUD, "x"), 8, 2) == 1.0

    @pytest.mark.parametrize("threads", [0, -2])
    def test_no_threads(self, threads: int) -> None:
        with pytest.raises(UsageError, match="threads"):
            device_share(parse_price(CLOUD, "x"), threads)

    def test_the_price_of_a_run_in_the_cloud(self) -> None:
        assert price_of(parse_price(CLOUD, "x"), 2, 0.6) == Price(0.4, devices=0.25, utilisation=0.6)

    def test_the_price_of_a_run_at_home(self) -> None:
        price = price_of(parse_price(CARD, "x"))
        assert price == Price(0.1, 2.0, 1.0, 0.2, 1.1, 400.0, "declared")


class TestBreakEven:
    def test_earned_back(self) -> None:
        assert break_even_requests(10.0, 0.03, 0.02) == pytest.approx(1000)

    def test_free_pays_at_once(self) -> None:
        assert break_even_requests(0.0, 0.03, 0.02) == 0

    @pytest.mark.parametrize("opt", [0.03, 0.04])
    def test_never(self, opt: float) -> None:
        assert break_even_requests(10.0, 0.03, opt) is None

    @pytest.mark.parametrize(
        "args", [(-1.0, 1.0, 0.5), (1.0, 0.0, 0.5), (1.0, 1.0, math.nan), (math.inf, 2.0, 1.0)]
    )
    def test_numbers_that_make_no_sense(self, args: tuple[float, float, float]) -> None:
        with pytest.raises(UsageError):
            break_even_requests(*args)


@pytest.mark.parametrize(
    ("utilisation", "pue", "taken"),
    [(1.0, 1.0, True), (1.001, 1.0, False), (1.0, 0.999, False), (0.5, 2.0, True)],
)
def test_no_hour_is_used_twice_and_no_meter_shows_less_than_the_device(
    utilisation: float, pue: float, taken: bool
) -> None:
    if taken:
        assert Price(1.0, utilisation=utilisation, pue=pue).utilisation == utilisation
    else:
        with pytest.raises(UsageError):
            Price(1.0, utilisation=utilisation, pue=pue)
