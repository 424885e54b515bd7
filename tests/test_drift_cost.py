"""scripts/drift-cost: turns are paired, whoever begins changes, and a tiny model goes through all of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from types import ModuleType

import pytest
from loaded_script import loaded_script
from warm import Warm, forking

from bench.machine.noise import Ticks


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded_script("drift-cost")


class Recorded:
    """Sides whose times are data: the plain loops take 1 and 3 s a window, the drift pass 5."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[int, ...]]] = []

    def ticks(self) -> Ticks:
        return Ticks(100 * len(self.asked), 0, 0, 40 * len(self.asked), 0.0)

    def drift(self, starts: Sequence[int]) -> float:
        self.asked.append(("drift", tuple(starts)))
        return 5.0 * len(starts)

    def bare(self, starts: Sequence[int]) -> tuple[float, ...]:
        self.asked.append(("bare", tuple(starts)))
        return 1.0 * len(starts), 3.0 * len(starts)


def test_both_compute_the_same_windows_and_whoever_begins_changes(script: ModuleType) -> None:
    sides = Recorded()
    found = list(script.turns(sides, [10, 20, 30], 2, time.monotonic() - 1))
    first, second = (10, 20), (30, 10)
    assert sides.asked == [("drift", first), ("bare", first), ("bare", second), ("drift", second)]
    assert [turn.ratio for turn in found] == [1.25, 1.25]
    assert [turn.others for turn in found] == [0.6, 0.6]


def test_turns_end_with_the_time(script: ModuleType) -> None:
    sides = Recorded()
    found = script.turns(sides, [10, 20, 30], 1, time.monotonic() + 0.2)
    assert len([next(found) for _turn in range(3)]) == 3
    time.sleep(0.25)
    assert list(found) == []


def test_the_ratio_is_of_sums_and_has_its_spread(script: ModuleType) -> None:
    """74 s over 60. The interval is of pairs, so a turn that is slow for both is no error."""
    some = [script.Turn(2, drift, bare, 0.01) for drift, bare in ((12.0, (4.0, 6.0)), (26.0, (10.0, 10.0)))]
    some += [script.Turn(2, 12.0, (5.0, 5.0), 0.02)] * 3
    found = script.summary(some)
    assert found["drift_over_two_passes"] == pytest.approx(74 / 60)
    assert (found["lowest"], found["highest"], found["turns"]) == (1.2, 1.3, 5)
    low, high = found["ci"]
    assert 1.1 < low < 74 / 60 < high < 1.4
    assert found["others"] == 0.02
    assert found["windows_per_s"] == pytest.approx(10 / 74)


@pytest.mark.usefixtures("warm_workers")
def test_on_a_tiny_model(
    script: ModuleType, warm: Warm, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two real workers beside two real loops, which read the same tokens. No time is judged."""
    monkeypatch.setattr(script, "subprocess", forking(warm, lambda python: python == sys.executable))
    small = ["--model", "tiny-gemma3", "--threads", "1", "--window", "32", "--tokens", "128"]
    script.main([*small, "--seconds", "0"])
    *turns, last = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert [turn["windows"] for turn in turns] == [2, 2]
    for turn in turns:
        assert turn["drift_s"] > 0
        assert 0 <= turn["others"] <= 1
        assert min(turn["bare_s"]) > 0
        assert turn["ratio"] == pytest.approx(turn["drift_s"] / sum(turn["bare_s"]))
    total = sum(turn["drift_s"] for turn in turns) / sum(sum(turn["bare_s"]) for turn in turns)
    assert last["drift_over_two_passes"] == pytest.approx(total)
