"""What was spent once, and how many requests earn it back: by hand, at 0.05 USD per 1000 s
of two of the four processors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, loaded, pairs, run_record, timed_batch

from bench.metrics import one_off
from bench.records import ArmRecord, MemoryPeaks, UnitRecord
from bench.stats.figure import value_of

SOLO = tuple(
    timed_batch(400 * i, [400 * i + 100, 400 * i + 200, 400 * i + 400], 400 * (i + 1), [10], [[5, 6, 7]])
    for i in range(8)
)
MEMORY = MemoryPeaks({"peak_rss_bytes": 900}, {"peak_rss_bytes": 700})
BASE = arm_record(solo=SOLO, memory=MEMORY)


def variant(*bills: dict[str, Any]) -> ArmRecord:
    """A variant with these bills."""
    steps = ({"step": "quantise: gptq", "checks": [], "one_off": list(bills)},)
    return arm_record("v", solo=SOLO, memory=MEMORY, loaded=replace(loaded(), evidence=steps))


def turns(ratio: float) -> tuple[UnitRecord, ...]:
    """Pairs in which every request of the variant takes ``ratio`` of the baseline's time, give or take a
    little."""
    base = [100_000_000 + 1_000_000 * i for i in range(4)]
    return pairs(
        *[([[ns] * 3], [[round(ratio * ns * (1 + 0.001 * (i % 3)))] * 3]) for i, ns in enumerate(base)]
    )


def bill(took_s: float, **more: Any) -> dict[str, Any]:
    return {"what": "calibration", "took_s": took_s, "peak_bytes": 1, "reused": False, **more}


def figures(ratio: float, *bills: dict[str, Any], **run: Any) -> dict[str, float | None]:
    arm = variant(*bills)
    found = one_off.figures(arm, run_record(BASE, arm, units=turns(ratio), **run))
    return {key: value_of(figure) for key, figure in found.items()}


def test_a_row_without_one_off_work_has_no_figure() -> None:
    assert figures(0.5) == {"one_off_usd": None, "break_even_requests": None}
    assert one_off.seconds(variant()) == 0.0


def test_a_row_that_was_not_loaded() -> None:
    arm = arm_record("v", status="unsupported", loaded=None)
    assert one_off.seconds(arm) is None
    assert one_off.figures(arm, run_record(BASE, arm)) == {"one_off_usd": None, "break_even_requests": None}


def test_what_was_spent_is_the_sum_of_the_bills() -> None:
    found = figures(0.5, bill(600.0), bill(400.0, reused=True))
    assert found["one_off_usd"] == pytest.approx(0.05)


def test_the_most_that_others_took_meanwhile_is_beside_the_figure() -> None:
    """A bill that an earlier version kept does not say it."""
    for bills, notes in (
        ([bill(600.0, others=0.02), bill(400.0, others=0.7), bill(1.0)], {"seconds": 1001.0, "others": 0.7}),
        ([bill(600.0)], {"seconds": 600.0}),
    ):
        arm = variant(*bills)
        found = one_off.figures(arm, run_record(BASE, arm, units=turns(0.5)))[one_off.USD.key]
        assert found is not None
        assert found.notes == notes


def test_idle_hours_are_paid_for_too() -> None:
    assert figures(0.5, bill(1000.0), utilisation=0.5)["one_off_usd"] == pytest.approx(0.1)


def test_requests_that_earn_it_back() -> None:
    """A request of the baseline takes 0.4 s, 0.00002 USD; half of that is saved: 0.05 / 0.00001."""
    found = figures(0.5, bill(1000.0))
    assert found["break_even_requests"] == pytest.approx(5000, rel=0.01)


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_what_saves_nothing_never_earns_it_back(ratio: float) -> None:
    assert figures(ratio, bill(1000.0))["break_even_requests"] is None


@pytest.mark.parametrize(("device", "usd"), [("cpu", 0.1), ("cuda:0", 0.05)])
def test_more_processors_cost_more_where_they_are_what_is_paid_for(device: str, usd: float) -> None:
    """1000 s on four processors for a row that is served on two."""
    arm = variant(bill(1000.0, details={"processors": 4}))
    assert arm.loaded is not None
    placed = replace(arm.loaded, facts=replace(arm.loaded.facts, device=device))
    assert one_off._paid_seconds(placed) * 0.05 / 1000 == pytest.approx(usd)
    found = one_off.figures(arm, run_record(BASE, arm, units=turns(0.5)))[one_off.USD.key]
    assert found is not None
    assert found.formula == (
        "seconds of calibration and training · their processors / the row's · R · G/u / 3600"
    )
