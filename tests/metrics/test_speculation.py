"""The figures of speculative decoding against simulated rounds with a known chance."""

from __future__ import annotations

import random

import pytest
from fakes import arm_record, run_record, timed_batch

from bench.metrics import speculation
from bench.records import Speculated

STEP_MS = 10.0


def figures(done: Speculated | None) -> dict[str, float | None]:
    base = timed_batch(0, [20 + STEP_MS * k for k in range(9)], 100, [5], [range(9)])
    run = run_record(arm_record(solo=(base,)), arm_record("v", speculated=done))
    return {key: one and one.value for key, one in speculation.figures(run.arms[1], run).items()}


def test_the_rates_are_counted() -> None:
    found = figures(
        Speculated(passes=10, drafted=40, accepted=25, drafting_ns=40_000_000, verifying_ns=120_000_000)
    )
    assert found["acceptance_rate"] == 25 / 40
    assert found["acceptance_length"] == 3.5


@pytest.mark.parametrize(("alpha", "gamma"), [(0.3, 2), (0.8, 4), (0.6, 7)])
def test_the_prediction_is_that_of_the_paper(alpha: float, gamma: int) -> None:
    """Rounds are drawn with a known chance; drafting costs 0.1 of a step, verifying 1.2 steps."""
    rng, passes, accepted = random.Random(5), 20_000, 0
    for _ in range(passes):
        kept = next((k for k in range(gamma) if rng.random() >= alpha), gamma)
        accepted += kept
    ns = STEP_MS * 1e6
    done = Speculated(
        passes, passes * gamma, accepted, round(0.1 * ns * passes * gamma), round(1.2 * ns * passes)
    )
    expected = (1 - alpha ** (gamma + 1)) / (1 - alpha) / (gamma * 0.1 + 1.2)
    assert figures(done)["speculation_speedup"] == pytest.approx(expected, rel=0.02)
    assert speculation.chance(accepted / passes, gamma) == pytest.approx(alpha, abs=0.01)


def test_it_equals_what_the_rounds_took() -> None:
    """By definition tokens of a pass over its time, whatever the chances were."""
    done = Speculated(passes=7, drafted=28, accepted=11, drafting_ns=50_000_000, verifying_ns=90_000_000)
    took_ms = (50 + 90) / 7
    assert figures(done)["speculation_speedup"] == pytest.approx((1 + 11 / 7) * STEP_MS / took_ms, rel=1e-6)


@pytest.mark.parametrize("done", [None, Speculated(0, 0, 0, 0, 0)])
def test_a_row_that_does_not_speculate_has_none(done: Speculated | None) -> None:
    assert set(figures(done).values()) == {None}


def test_nothing_drafted_has_a_length_and_no_rate() -> None:
    found = figures(Speculated(passes=8, drafted=0, accepted=0, drafting_ns=10, verifying_ns=80_000_000))
    assert found == {"acceptance_rate": None, "acceptance_length": 1.0, "speculation_speedup": None}


def test_all_right_is_a_chance_of_one() -> None:
    assert speculation.chance(4, 4) == 1.0


def test_none_right_is_a_chance_of_zero() -> None:
    assert speculation.chance(0, 4) == 0.0
