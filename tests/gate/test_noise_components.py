"""The noise of a machine from units with two equal sides, against numpy and by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import arm_record, run_record, unit

from bench.gate import calibration
from bench.gate.calibration import ENOUGH_UNITS, MOST_BATCHES, calibration_of, estimate, latest
from bench.records import RunRecord, UnitRecord
from bench.store.replay import Head

SECOND = 1_000_000_000


def units_of(logs: Any, **more: Any) -> list[UnitRecord]:
    """Units whose batches have these log ratios, [units][batches]; the baseline's take a second each."""
    return [
        unit([[SECOND]] * len(row), [[round(SECOND * math.exp(one))] for one in row], number=number,
             **{"took_s": 30.0, **more})
        for number, row in enumerate(logs, 1)
    ]  # fmt: skip


def run_of(units: list[UnitRecord]) -> RunRecord:
    run = run_record(arm_record(), arm_record("v"), units=units)
    return replace(run, gate={"mode": "calibration"})


@pytest.fixture(autouse=True)
def _no_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """``test_limits.py`` simulates gates; here it is what the simulation is asked."""
    monkeypatch.setattr(calibration, "smallest_detectable", lambda unit_sd, test: (unit_sd, test))


@pytest.mark.parametrize(("process", "batch"), [(0.02, 0.01), (0.001, 0.02), (0.0, 0.01)])
def test_components_are_those_of_numpy(process: float, batch: float) -> None:
    draw = np.random.default_rng(4)
    logs = draw.normal(0, process, (12, 1)) + draw.normal(0, batch, (12, 5))
    found = estimate(run_of(units_of(logs)))
    assert found is not None
    whole = np.log(np.exp(logs).sum(axis=1) / 5)
    within = logs.var(axis=1, ddof=1).mean()
    between = max((whole**2).mean() - within / 5, 0.0)
    assert found.batch_sd == pytest.approx(math.sqrt(within), rel=1e-5)
    assert found.process_sd == pytest.approx(math.sqrt(between), rel=1e-5)
    assert found.intraclass_correlation == pytest.approx(between / (between + within), rel=1e-5)
    assert found.unit_sd == pytest.approx(math.sqrt(between + within / found.batches), rel=1e-5)
    flat = logs.ravel() - logs.mean()
    assert found.lag1_autocorrelation == pytest.approx((flat[:-1] @ flat[1:]) / (flat @ flat), rel=1e-4)
    assert (found.batches_measured, found.units, found.void_units) == (5, 12, 0)


def test_seconds_of_a_unit_are_those_of_the_batches_it_should_have() -> None:
    """Two batches of two sides take 4 s of 30; the 26 s of starting do not grow with the batches."""
    logs = [[0.01, -0.01], [0.02, 0.0]] * 3
    found = estimate(run_of(units_of(logs)))
    assert found is not None
    assert found.seconds_per_unit == pytest.approx(26 + 2 * found.batches, abs=0.1)


def test_a_margin_of_three_percent_is_what_is_simulated() -> None:
    found = estimate(run_of(units_of([[0.01, -0.01]] * 6)))
    assert found is not None
    simulated: Any = found.detectable
    assert simulated[0] == found.unit_sd
    assert simulated[1].margin == pytest.approx(math.log(1.03))
    assert simulated[1].prior_sd == max(found.unit_sd, calibration.SCALE_FLOOR)
    assert found.cap == simulated[1].cap


def test_equal_sides_have_no_noise() -> None:
    found = estimate(run_of(units_of([[0.0]] * 6)))
    assert found is not None
    assert (found.unit_sd, found.process_sd, found.batch_sd) == (0, 0, 0)
    assert (found.intraclass_correlation, found.lag1_autocorrelation) == (0, 0)
    assert found.batches == 1


def test_void_units_are_counted_and_nothing_else() -> None:
    units = units_of([[0.01]] * ENOUGH_UNITS)
    void = replace(units[0], number=99, void="others", variant_ns=((9 * SECOND,),))
    with_void, without = estimate(run_of([*units, void])), estimate(run_of(units))
    assert with_void is not None
    assert with_void == replace(without, void_units=1)  # type: ignore[type-var]
    assert estimate(run_of([*units[1:], void])) is None  # one too few


def test_only_a_calibration_is_one() -> None:
    run = run_of(units_of([[0.01]] * ENOUGH_UNITS))
    assert calibration_of(run) == estimate(run)
    assert calibration_of(replace(run, gate=None)) is None
    assert calibration_of(replace(run, gate={"mode": "config"})) is None


def test_counters_that_differ_are_seen() -> None:
    units = units_of([[0.01]] * ENOUGH_UNITS)
    for changed, constant in ((units, True), ([replace(units[0], counters=3), *units[1:]], False)):  # type: ignore
        found = estimate(run_of(changed))
        assert found is not None
        assert found.counters_constant is constant


@pytest.mark.parametrize(
    ("process", "batch", "fixed_s", "batch_s", "batches"),
    [
        (1e-4, 1e-4, 9.0, 1.0, 3),  # √(9/1 · 1)
        (1e-4, 1e-4, 10.0, 1.0, 4),  # rounded up
        (1e-4, 4e-4, 9.0, 1.0, 6),
        (4e-4, 1e-4, 1.0, 9.0, 1),
        (1e-8, 1e-2, 9.0, 1.0, MOST_BATCHES),
        (0.0, 1e-4, 9.0, 1.0, MOST_BATCHES),
        (0.0, 0.0, 9.0, 1.0, 1),
    ],
)
def test_the_cheapest_number_of_batches(
    process: float, batch: float, fixed_s: float, batch_s: float, batches: int
) -> None:
    assert calibration._batches(process, batch, fixed_s, batch_s) == batches


@pytest.mark.parametrize(
    ("at", "conditions", "mode", "found"),
    [
        ("2026-01-24T12:00:00+00:00", 1, "calibration", True),  # seven days to the second
        ("2026-01-24T11:59:59+00:00", 1, "calibration", False),
        ("2026-01-31T12:00:00+00:00", 1, "calibration", True),
        ("2026-01-31T12:00:01+00:00", 1, "calibration", False),  # of a clock that was wrong
        ("2026-01-31T12:00:00+00:00", 2, "calibration", False),
        ("2026-01-31T12:00:00+00:00", 1, "config", False),
    ],
)
def test_the_newest_of_the_last_seven_days(
    at: str, conditions: int, mode: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(units_of([[0.01]] * ENOUGH_UNITS))
    monkeypatch.setattr(calibration, "load_record", lambda directory: run)
    monkeypatch.setattr(calibration, "estimate", lambda record: "it")
    head: Any = {"gate": {"mode": mode, "conditions": {"machine": conditions}}, "at_utc": at}
    runs: list[Head] = [("other", {"gate": None}), ("this", head)]  # type: ignore[list-item]
    assert latest(runs, {"machine": 1}, "2026-01-31T12:00:00+00:00") == ("it" if found else None)
