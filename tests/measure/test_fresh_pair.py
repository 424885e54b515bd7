"""Two fresh processes that take turns: the schedule, who is pinned, and durations that cannot be."""

from __future__ import annotations

import os
from typing import Any

import pytest
from desk import Desk, Process, Reply

from bench.config.settings import WorkloadBlock
from bench.errors import Outcome, Unsupported, VariantFailed
from bench.measure.fresh_pair import FreshPair
from bench.measure.together import BaselineDied
from bench.records import UnitRecord

Patch = pytest.MonkeyPatch


def pair_of(desk: Desk, number: int = 1) -> FreshPair:
    variant = desk.open_worker(desk.group.variants[0], "", desk.context)
    return FreshPair(desk.group, variant, desk.fetch, number)


def turns(desk: Desk, number: int = 1) -> UnitRecord:
    """A whole pair, from its start to its end."""
    with pair_of(desk, number) as pair:
        pair.load()
        pair.warm_up(check=False)
        return pair.turns(range(6))


def schedules(desk: Desk, side: str = "base") -> list[Any]:
    return [arguments["firsts"] for arguments in desk.arguments(side, "duet")]


def test_both_sides_get_the_same_schedule_and_every_pair_its_own(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch)
    for number in (1, 2, 3):
        turns(desk, number)
    assert schedules(desk) == schedules(desk, "variant")
    assert all(len(rows) == 6 and {len(row) for row in rows} == {4} for rows in schedules(desk))
    assert len({str(rows) for rows in schedules(desk)}) == 3
    assert {arguments["me"] for arguments in desk.arguments("base", "duet")} == {0}
    assert {arguments["me"] for arguments in desk.arguments("variant", "duet")} == {1}


@pytest.mark.parametrize("side", ["base", "variant"])
def test_a_worker_knows_the_number_of_its_pair(monkeypatch: Patch, side: str) -> None:
    """With it a simulated link draws other delays in each pair."""
    desk = Desk(monkeypatch)
    for number in (1, 2, 3):
        turns(desk, number)
    assert [arguments["process"] for arguments in desk.arguments(side, "load")] == [1, 2, 3]


def test_the_schedule_comes_from_the_seed(monkeypatch: Patch) -> None:
    def schedule(seed: int) -> Any:
        desk = Desk(monkeypatch, seed=seed)
        turns(desk)
        return schedules(desk)

    assert schedule(0) == schedule(0)
    assert schedule(0) != schedule(1)


def test_both_sides_go_first_about_equally_often(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, workload=WorkloadBlock(name="chat", requests=6, output_tokens=50))
    for number in range(1, 16):
        turns(desk, number)
    firsts = [side for rows in schedules(desk) for row in rows for side in row]
    assert 0.46 < sum(firsts) / len(firsts) < 0.54


@pytest.mark.parametrize("side", ["base", "variant"])
def test_a_side_whose_context_is_too_short_is_named(monkeypatch: Patch, side: str) -> None:
    """A prompt of three tokens and a reply of four need seven."""

    def short(process: Process, do: str) -> Reply | None:
        found: Any = process.desk._load(process, {}) if (process.side, do) == (side, "load") else None
        return found and {**found, "facts": {**found["facts"], "context": 6}}

    said = "7 tokens in and out do not fit the model's context of 6"
    with pytest.raises(BaselineDied if side == "base" else Unsupported, match=said):
        turns(Desk(monkeypatch, replies=short))


def in_order(monkeypatch: Patch, number: int = 1, **facts: object) -> list[str]:
    """What a pair asks of its workers, each with the number of answers that have arrived before it."""
    answered: list[str] = []
    desk = Desk(monkeypatch, replies=lambda process, do: answered.append(do), facts=facts)
    asked: list[str] = []
    start = Process.start

    def noting(self: Process, do: str, descriptors: Any, **arguments: object) -> None:
        asked.append(f"{self.side} {do} after {len(answered)}")
        start(self, do, descriptors, **arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Process, "start", noting)
        turns(desk, number)
    return asked


def test_both_sides_load_at_the_same_time(monkeypatch: Patch) -> None:
    """Each is asked before either has answered."""
    assert in_order(monkeypatch)[:4] == ["base load after 0", "variant load after 0", "base prompts after 2",
                                         "variant prompts after 2"]  # fmt: skip


@pytest.mark.parametrize(
    ("processors", "facts", "together"),
    [
        (4, {"threads": 2}, True),
        (3, {"threads": 2}, False),
        (2, {"threads": 1}, True),
        (1, {"threads": 1}, False),
        (1, {"threads": None}, False),
        (2, {"threads": 16, "device": "cuda"}, True),
    ],
)
def test_sides_warm_up_together_only_if_each_thread_has_a_processor(
    monkeypatch: Patch, processors: int, facts: dict[str, Any], together: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    begun = {tuple(in_order(monkeypatch, number, **facts)[4:6]) for number in range(1, 9)}
    if together:
        assert begun == {("base warm_up after 4", "variant warm_up after 4")}
    else:
        assert begun == {
            ("base warm_up after 4", "variant warm_up after 5"),
            ("variant warm_up after 4", "base warm_up after 5"),
        }


@pytest.mark.parametrize("side", ["base", "variant"])
def test_a_side_that_fails_while_it_warms_up_alone_is_named(monkeypatch: Patch, side: str) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    broken = VariantFailed(Outcome.RUN_ERROR, "no warmth")
    with pytest.raises(BaselineDied if side == "base" else VariantFailed, match="no warmth"):
        turns(
            Desk(
                monkeypatch,
                replies=lambda process, do: broken if (process.side, do) == (side, "warm_up") else None,
            )
        )


def test_both_sides_warm_up_with_the_batch_that_is_not_timed(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch)
    with pair_of(desk) as pair:
        pair.load()
        pair.warm_up(check=False, first=3)
    for side in ("base", "variant"):
        assert [arguments["first"] for arguments in desk.arguments(side, "warm_up")] == [3]


def test_a_start_that_fails_leaves_no_process(monkeypatch: Patch) -> None:
    """Whichever of the two it is, and whoever comes first."""
    for side in ("base", "variant"):
        for number in range(1, 6):
            desk = Desk(monkeypatch)
            enter = Process.__enter__

            def refuse(self: Process, side: str = side, enter: Any = enter) -> Process:
                if self.side == side:
                    raise VariantFailed(Outcome.LOAD_ERROR, "cannot start")
                return enter(self)  # type: ignore[no-any-return]

            with monkeypatch.context() as patch:
                patch.setattr(Process, "__enter__", refuse)
                with (
                    pytest.raises(BaselineDied if side == "base" else VariantFailed, match="cannot start"),
                    pair_of(desk, number),
                ):
                    pass
            assert all(process.closed for process in desk.processes)


@pytest.mark.parametrize(
    "wrong",
    [
        [[1, 1, 1, 1]] * 5,  # a batch is missing
        [[1, 1, 1, 1]] * 7,
        [[1, 1, 1]] * 6,  # a turn is missing
        [[1, 1, 0, 1]] * 6,  # no time at all
        [[1, 1, -5, 1]] * 6,
        [[1, 1, "1", None]] * 6,
        "all of them",
        None,
    ],
)
@pytest.mark.parametrize("side", ["base", "variant"])
def test_durations_that_cannot_be_are_not_averaged(monkeypatch: Patch, wrong: Any, side: str) -> None:
    def answer(process: Process, do: str) -> Reply | None:
        return {"durations_ns": wrong} if (process.side, do) == (side, "duet") else None

    with pytest.raises(BaselineDied if side == "base" else VariantFailed) as caught:
        turns(Desk(monkeypatch, replies=answer))
    failure = caught.value.failure if isinstance(caught.value, BaselineDied) else caught.value
    assert isinstance(failure, VariantFailed)
    assert failure.outcome == Outcome.PROTOCOL_ERROR


def test_a_prompt_that_does_not_fit_is_said_before_anything_is_timed(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, facts={"context": 6})
    with pytest.raises(BaselineDied, match="7 tokens in and out do not fit the model's context of 6"):
        turns(desk)
    assert desk.asked("base", 1) == desk.asked("variant", 1) == ["load", "prompts"]


def test_two_single_threaded_workers_share_a_processor_for_their_turns_alone(monkeypatch: Patch) -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    desk = Desk(monkeypatch, facts={"threads": 1})
    turns(desk)
    assert [process.pinned for process in desk.processes] == [[everywhere[-1:], everywhere]] * 2
