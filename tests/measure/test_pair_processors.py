"""Which processors the two workers of a pair have: workers whose answers are data."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace

import pytest
from desk import FACTS
from two_arms import Table, scores

from bench.machine import cores
from bench.measure.pair_processors import pinned


def pins(table: Table, error: Exception | None = None) -> list[list[list[int]]]:
    """Where both workers were put, before and after; ``error`` ends the turns."""
    with suppress(RuntimeError), pinned(table.base, table.variant):
        if error:
            raise error
    return [under.worker.pinned for under in (table.base, table.variant)]  # type: ignore[attr-defined]


def test_two_single_threaded_workers_share_the_last_processor() -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    found = pins(Table(scores, scores, {"threads": 1}))
    assert found == [[everywhere[-1:], everywhere]] * 2


@pytest.mark.parametrize("swapped", [False, True])
def test_two_workers_on_a_gpu_have_cores_of_their_own(monkeypatch: pytest.MonkeyPatch, swapped: bool) -> None:
    """Processors 0 and 4, 1 and 5, ... are one core each; the halves change sides from pair to pair."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    monkeypatch.setattr(cores, "text_of", lambda path: f"{int(path.parts[-3][3:]) % 4},7")
    table = Table(scores, scores, {"device": "cuda:0"})
    with pinned(table.base, table.variant, swapped=swapped):
        pass
    found = [under.worker.pinned for under in (table.base, table.variant)]  # type: ignore[attr-defined]
    halves = [[[0, 2, 4, 6], list(range(8))], [[1, 3, 5, 7], list(range(8))]]
    assert found == (halves[::-1] if swapped else halves)


def test_one_core_is_not_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    monkeypatch.setattr(cores, "text_of", lambda _path: "0-1")
    assert pins(Table(scores, scores, {"device": "cuda:0"})) == [[], []]


def test_processors_that_say_nothing_of_their_core_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "text_of", lambda _path: None)
    assert cores.halves([3, 1, 2, 7]) == ([1, 3], [2, 7])


@pytest.mark.parametrize("facts", [{"threads": 2}, {"threads": None}])
def test_others_move_freely(facts: dict[str, object]) -> None:
    assert pins(Table(scores, scores, facts)) == [[], []]


def test_one_single_threaded_worker_alone_is_not_pinned() -> None:
    table = Table(scores, scores)
    table.variant.facts = replace(FACTS, threads=1)
    assert pins(table) == [[], []]


def test_pins_are_taken_off_after_a_failure() -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    found = pins(Table(scores, scores, {"threads": 1}), RuntimeError("planted"))
    assert found == [[everywhere[-1:], everywhere]] * 2
