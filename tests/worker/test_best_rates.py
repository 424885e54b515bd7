"""What a machine reaches at best, in environments with torch and without it."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from fakes import FakeEngine

from bench.worker import ceilings, pass_parts


def test_an_engine_that_needs_no_torch_has_no_ceilings_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's own function runs in an interpreter of its own; its row must not fail for this."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ceilings.measure(FakeEngine()) == {}


def test_rates_are_the_best_of_five_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run is a second longer than the one before it, and the first is not counted."""
    ticks = iter(range(10_000))
    clock, waits = [0], []

    def work() -> None:
        clock[0] += (1 + next(ticks)) * 10**9

    assert pass_parts.best(lambda: clock[0], work, synchronise=lambda: waits.append(1)) == 2.0
    assert len(waits) == 1 + pass_parts.REPEATS


def test_a_gpu_gets_several_calls_before_it_is_waited_for() -> None:
    """A wait takes a second here and a call a tenth: one is a fifth longer, not eleven times."""
    clock = [0.0]

    def spend(seconds: float) -> None:
        clock[0] += seconds * 1e9

    found = ceilings._best_s(lambda: round(clock[0]), lambda: spend(1.0), 50, lambda: spend(0.1))
    assert found == pytest.approx(0.12)
