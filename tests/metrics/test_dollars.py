"""A variant's dollars: the baseline's, measured alone, times the ratio of the pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, loaded, pairs, run_record, timed_batch

from bench.metrics import cost
from bench.records import ArmRecord, MemoryPeaks, UnitRecord
from bench.results.summarise import summarise
from bench.stats.figure import Figures
from bench.stats.intervals import Interval


def alone(ms: float) -> tuple[Any, ...]:
    """Six requests of about so long, alone, one after the other."""
    return tuple(
        timed_batch(i * ms, [i * ms + ms / 2, (i + 1) * ms], (i + 1) * ms, [10], [[1, 2]]) for i in range(6)
    )


MEMORY = MemoryPeaks({"peak_rss_bytes": 900}, {"peak_rss_bytes": 900})
BASE = arm_record(solo=alone(100), memory=MEMORY)
# Alone it took 70 % of the baseline's time, beside it 80 %: a pass alone was minutes away from the other's.
V = arm_record("v", solo=alone(70), memory=MEMORY)
UNITS = pairs(*[([[60, 40]], [[48, 32]])] * 4)
KEYS = [metric.key for metric in cost.METRICS]


def rows(*arms: ArmRecord, units: tuple[UnitRecord, ...] = UNITS, **changes: Any) -> dict[str, Any]:
    run = replace(run_record(*arms, units=units), **changes)
    return {row["name"]: row["metrics"] for row in summarise(run).to_json()["variants"]}


def test_two_rows_dollars_have_the_ratio_of_the_table() -> None:
    run = run_record(BASE, V, units=UNITS)
    found = summarise(run).to_json()
    base, variant = (row["metrics"] for row in found["variants"])
    ratios = {one["metric"]: one["ratio"] for one in found["comparisons"]}
    for key in ("cost_per_1k_tokens_usd", "cost_per_request_usd"):
        assert ratios[key] == pytest.approx(0.8)
        assert variant[key]["value"] / base[key]["value"] == pytest.approx(ratios[key])
        # 100 ms at 0.36 USD an hour for two of four processors
    assert base["cost_per_request_usd"]["value"] == pytest.approx(0.18 / 3600 * 0.1)
    assert variant["cost_per_request_usd"]["value"] == pytest.approx(0.18 / 3600 * 0.08)


def test_what_the_pass_alone_gave_is_kept() -> None:
    found, own = rows(BASE, V)["v"], cost.figures(V, run_record(BASE, V, units=UNITS))
    for key in KEYS:
        before = own[key]
        assert before is not None
        assert found[key]["alone"] == before.value
        assert found[key]["value"] == pytest.approx(before.value * 0.8 / 0.7)


def test_the_interval_is_that_of_the_product() -> None:
    run = run_record(BASE, V, units=UNITS)
    found = summarise(run).to_json()
    (one,) = [c for c in found["comparisons"] if c["metric"] == "cost_per_1k_tokens_usd"]
    figure = found["variants"][1]["metrics"]["cost_per_1k_tokens_usd"]
    assert (figure["value"], figure["ci_low"], figure["ci_high"]) == pytest.approx(
        (one["value"], one["value_low"], one["value_high"])
    )
    assert figure["ci_low"] < figure["value"] < figure["ci_high"]


def test_twice_the_processors_are_in_the_dollars_and_in_the_ratio() -> None:
    found = rows(BASE, replace(V, loaded=loaded(threads=4)))
    ratio = found["v"]["cost_per_request_usd"]["value"] / found["baseline"]["cost_per_request_usd"]["value"]
    assert ratio == pytest.approx(1.6)


def test_a_row_without_turns_keeps_its_own_dollars() -> None:
    for units in ((), tuple(replace(unit, void="busy") for unit in UNITS)):
        found = rows(BASE, V, units=units)["v"]
        for key in KEYS:
            assert "alone" not in found[key]
        assert found["cost_per_request_usd"]["value"] == pytest.approx(0.18 / 3600 * 0.07)


def test_the_baseline_keeps_its_own_dollars() -> None:
    for key in KEYS:
        assert "alone" not in rows(BASE, V)["baseline"][key]


def test_a_bill_for_measured_energy_stays() -> None:
    """Joules are not in proportion to time: the row keeps what it was charged."""
    alone = cost.figures(V, run_record(BASE, V))
    first = alone[cost.PER_1K.key]
    assert first is not None
    assert first.notes == {"power_basis": "included"}
    energy = alone | {cost.PER_1K.key: replace(first, notes={"power_basis": "measured"})}
    assert cost.as_paired(energy, Interval(1.0, 0.9, 1.1)) == energy
    assert cost.as_paired(alone, Interval(1.0, 0.9, 1.1)) != alone


def test_a_row_without_dollars_has_none() -> None:
    none: Figures = dict.fromkeys(KEYS)
    assert cost.as_paired(none, Interval(1.0, 0.9, 1.1)) == none


def test_bounds_that_are_not_known_stay_unknown() -> None:
    found = cost.as_paired(cost.figures(V, run_record(BASE, V)), Interval(1.0, None, None))
    for key in KEYS:
        figure = found[key]
        assert figure is not None
        assert (figure.ci_low, figure.ci_high) == (None, None)
    first = found["cost_per_1k_tokens_usd"]
    assert first is not None
    assert first.value == 1
