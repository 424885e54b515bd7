"""A pair on a GPU that others used, or that heat slowed down: void, repeated, and in the end ``unfit``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from desk import Desk, Process, Reply
from fake_nvml import GIB, Card, Machine, gpu_machine

from bench.errors import Outcome, VariantFailed

__all__ = ["gpu_machine"]
Patch = pytest.MonkeyPatch


def desk(patch: Patch, card: Card, happens: Callable[[int], dict[str, Any]], **more: Any) -> Desk:
    """A row on the card; ``happens(n)`` is what becomes of the card in the turns of pair ``n``."""

    def during(process: Process, do: str) -> Reply | None:
        if do == "duet" and process.side == "base":
            for name, value in happens(process.number).items():
                setattr(card, name, value)
        return None

    return Desk(patch, replies=during, facts={"device": "cuda:0"}, **more)


HOT, COOL = {"reasons": 0x40, "temperature": 91}, {"reasons": 0, "temperature": 60}


def test_a_hot_pair_is_void_and_another_takes_its_place(gpu_machine: Machine, monkeypatch: Patch) -> None:
    card = Card(lacks={"nvmlDeviceGetComputeRunningProcesses"})
    gpu_machine(card)
    hot = {2: HOT, 3: HOT, 4: HOT}  # still hot when pairs 3 and 4 begin
    found = desk(monkeypatch, card, lambda number: hot.get(number, COOL)).run()
    voids = [unit["void"] for unit in found.notes.units]
    assert [bool(void) for void in voids] == [False, True, True, True, True, False, False, False]
    assert voids[1] == "the GPU was slowed down by hw thermal slowdown (91 °C)"
    assert found.notes.units[1]["noise"]["gpus"][0]["temperature_c"] == [60, 91]


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (HOT, "slowed down by hw thermal slowdown"),
        ({"processes": {99: GIB}, "samples": [(1, 99, 50)] * 3}, "process 99 used 50% of the GPU"),
    ],
)
@pytest.mark.fault(28)
def test_a_row_without_a_valid_pair_is_unfit(
    gpu_machine: Machine, monkeypatch: Patch, happens: dict[str, Any], words: str
) -> None:
    card = Card()
    gpu_machine(card)

    def round_of(number: int) -> dict[str, Any]:
        samples = [(1000 * number + place, 99, 50) for place in range(3)]
        ours = {99: GIB, Process.pid: GIB}
        return {**happens, **({"samples": samples, "processes": ours} if "samples" in happens else {})}

    with pytest.raises(VariantFailed) as failed:
        desk(monkeypatch, card, round_of).run()
    assert failed.value.outcome == Outcome.UNFIT
    assert words in failed.value.reason


def test_a_quiet_gpu_changes_nothing(gpu_machine: Machine, monkeypatch: Patch) -> None:
    card = Card(processes={Process.pid: 8 * GIB})
    gpu_machine(card)
    found = desk(monkeypatch, card, lambda number: {}).run()
    assert found.pairs == 4
    assert {unit["void"] for unit in found.notes.units} == {""}
    assert found.notes.units[0]["noise"]["gpus"][0]["neighbours"] == "none seen"
    solo = [noise for noise in found.notes.of("v", "noise") if noise[0]["stage"] == "solo"]
    assert len(solo) == 1
    assert solo[0][0]["gpus"][0]["power_cap_w"] == 700.0


def test_a_hot_solo_pass_is_repeated_once(gpu_machine: Machine, monkeypatch: Patch) -> None:
    card = Card()
    gpu_machine(card)

    def hot_when_alone(process: Process, do: str) -> Reply | None:
        card.reasons = 0x20 if do == "solo" and "solo" not in seen else 0
        seen.append(do)
        return None

    seen: list[str] = []
    found = Desk(monkeypatch, replies=hot_when_alone, facts={"device": "cuda:0"}).run()
    assert found.asked("variant", 1).count("solo") == 2


def test_sides_one_after_the_other_are_watched_too(gpu_machine: Machine, monkeypatch: Patch) -> None:
    """Each side has a round of its own; heat in one of them makes the pair void."""
    card = Card()
    gpu_machine(card)

    def hot_variant(process: Process, do: str) -> Reply | None:
        if do == "alone":
            card.reasons = 0x40 if process.side == "variant" and process.number == 3 else 0  # 2 is for drift
        elif do == "load":
            card.reasons = 0
        return None

    facts = {"device": "cuda:0"}
    found = Desk(monkeypatch, replies=hot_variant, facts=facts, design="abba").run()
    voids = [bool(unit["void"]) for unit in found.notes.units]
    assert voids[:3] == [False, True, False]
    assert len(found.notes.units[0]["noise"]["gpus"]) == 2
