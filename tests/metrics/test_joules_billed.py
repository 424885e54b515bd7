"""The joules of a pass, from an energy window with another number of requests, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import arm_record, run_record
from rich_rows import solo

from bench.metrics import cost
from bench.metrics.cost import _joules
from bench.records import EnergyReading
from bench.stats.figure import value_of

THREE = EnergyReading(9.0, True, "ok", "", "package", window_s=1.0, requests=3)


@pytest.mark.parametrize(("requests", "joules"), [(3, 9.0), (6, 18.0), (1, 3.0)])
def test_joules_grow_with_the_requests(requests: int, joules: float) -> None:
    assert _joules(arm_record(energy=THREE), requests) == joules


@pytest.mark.parametrize("energy", [None, replace(THREE, energy_valid=False), replace(THREE, energy_j=None)])
def test_no_valid_reading_has_none(energy: EnergyReading | None) -> None:
    assert _joules(arm_record(energy=energy), 3) is None


def test_measured_energy_is_a_part_of_the_cost_where_the_price_has_no_power() -> None:
    """Six requests take 18 J: 5 Wh·10⁻³ at 0.2 USD a kWh and a PUE of 1.5, beside the hour of the machine."""
    arm = arm_record(solo=solo(2.0), energy=THREE)
    run = run_record(arm)
    bought = {
        "purchase_usd": 360.0,
        "overhead": 0.0,
        "life_hours": 1000,
        "average_watts": 45,
        "idle_watts": 20,
    }
    rented = {key: value for key, value in run.price.items() if key != "usd_per_hour"}
    owned = {
        **rented,
        **bought,
        "ownership": "owned",
        "includes_power": False,
        "usd_per_kwh": 0.2,
        "pue": 1.5,
    }
    alone, billed = (
        value_of(cost.figures(arm, replace(run, price=price))[cost.PER_REQUEST.key])
        for price in (run.price, owned)
    )
    assert alone is not None
    assert billed == pytest.approx(alone + 18 / 3.6e6 * 0.2 * 1.5 / 6)
