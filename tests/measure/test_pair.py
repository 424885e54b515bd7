"""A variant beside its baseline, from the harness's side: workers whose answers are data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from desk import FACTS, WORKLOAD, Answer, Notebook
from fakes import ScriptedWorker
from hypothesis import given
from hypothesis import strategies as st

from bench.config.blocks import DriftBlock, MeasureBlock, RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm
from bench.errors import Outcome, VariantFailed
from bench.machine import cores
from bench.measure import pair
from bench.measure.arm import ArmUnderTest, RunContext
from bench.measure.events import Event
from bench.measure.together import BaselineDied
from bench.models.reference import Named


class Table:
    """A baseline and a variant of one run."""

    def __init__(
        self, base: Answer, variant: Answer, facts: Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        self.notes = Notebook()
        self.told: list[Event] = []
        measure = MeasureBlock(**settings.pop("measure", {}))
        drift = DriftBlock(**{"tokens": 64, "window": 16, **settings.pop("drift", {})})
        context = RunContext(
            Path(), self.notes, self.told.append, lambda: None, measure, drift, "text"  # type: ignore[arg-type]
        )  # fmt: skip
        self.base, self.variant = (
            ArmUnderTest(self.arm(name, **settings), "", context, ScriptedWorker(answer))  # type: ignore[arg-type]
            for name, answer in (("baseline", base), ("variant", variant))
        )
        self.base.facts = self.variant.facts = replace(FACTS, **(facts or {}))

    @staticmethod
    def arm(name: str, workloads: Mapping[str, WorkloadBlock] | None = None) -> Arm:
        workload = (workloads or {}).get(name, WORKLOAD)
        return Arm(name, name == "baseline", Named("m"), RuntimeBlock(), workload, ())


def scores(do: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A text of 100 tokens, and statistics for each of its windows."""
    if do == "corpus":
        return {"tokens": 100, "digest": "d"}
    assert do in ("score", "floor")
    one = {"kld": [0.5] * 15, "same_top": [1] * 15, "ln_p_base": [-1.0] * 15, "ln_p_variant": [-2.0] * 15}
    return {"windows": [one] * len(arguments["starts"])}


# ---- windows -------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(16, 512), st.integers(1, 10**5))
def test_windows_fit_and_do_not_overlap(length: int, window: int, tokens: int) -> None:
    starts = pair.window_starts(length, window, tokens)
    assert len(starts) == min(max(tokens // window, 1), length // window)
    assert all(0 <= start <= length - window for start in starts)
    assert all(later - earlier >= window for earlier, later in pairwise(starts))


@given(st.integers(1000, 10**6), st.integers(16, 64), st.integers(200, 900))
def test_windows_are_spread_evenly_over_the_whole_text(length: int, window: int, tokens: int) -> None:
    starts = pair.window_starts(length, window, tokens)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert starts[0] == 0
    assert starts[-1] == length - window
    assert max(gaps) - min(gaps) <= 1


def test_windows_by_hand() -> None:
    assert pair.window_starts(100, 20, 80) == [0, 27, 53, 80]
    assert pair.window_starts(100, 20, 10_000) == [0, 20, 40, 60, 80]
    assert pair.window_starts(100, 20, 5) == [0]
    assert pair.window_starts(19, 20, 80) == []
    assert pair.window_starts(20, 20, 80) == [0]


# ---- one processor for two single-threaded workers --------------------------------------------------


def pins(table: Table, error: Exception | None = None) -> list[list[list[int]]]:
    """Where both workers were put, before and after; ``error`` ends the turns."""
    with suppress(RuntimeError), pair.pinned(table.base, table.variant):
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
    with pair.pinned(table.base, table.variant, swapped=swapped):
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


# ---- drift ---------------------------------------------------------------------------------------


def reason(table: Table) -> str:
    pair.drift(table.base, table.variant)
    assert not table.notes.of("variant", "drift")
    (found,) = table.notes.of("variant", "drift_reason")
    return str(found)


def test_drift_is_scored_window_by_window() -> None:
    table = Table(scores, scores)
    pair.drift(table.base, table.variant)
    windows = [one for windows in table.notes.of("variant", "drift") for one in windows]
    assert len(windows) == 64 // 16
    asked = [arguments for do, arguments in table.variant.worker.asked if do == "score"]  # type: ignore[attr-defined]
    assert [start for one in asked for start in one["starts"]] == pair.window_starts(100, 16, 64)


def test_the_text_is_cut_into_calls_of_a_few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "WINDOWS_A_CALL", 3)
    table = Table(scores, scores)
    pair.drift(table.base, table.variant)
    assert [len(windows) for windows in table.notes.of("variant", "drift")] == [3, 1]


def test_what_layers_read_is_kept_call_by_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "WINDOWS_A_CALL", 2)
    read = {"format": "float16", "looked": 9, "reach": 1.0, "layers": {"a": 3}}
    table = Table(scores, lambda do, arguments: {**scores(do, arguments), "activations": read})
    pair.drift(table.base, table.variant)
    assert table.notes.of("variant", "activations") == [[{"baseline": None, "variant": read}]] * 2
    silent = Table(scores, scores)
    pair.drift(silent.base, silent.variant)
    assert not silent.notes.of("variant", "activations")


@pytest.mark.parametrize(
    ("facts", "ahead"),
    [
        ({"threads": 1}, True),
        ({"threads": 2}, False),
        ({"threads": 1, "device": "cuda:0"}, False),
        ({"threads": None}, False),
    ],
)
def test_both_sides_compute_at_once_where_each_has_a_processor(facts: dict[str, object], ahead: bool) -> None:
    table = Table(scores, scores, facts)
    pair.drift(table.base, table.variant)
    for under in (table.base, table.variant):
        asked = [arguments for do, arguments in under.worker.asked if do == "score"]  # type: ignore[attr-defined]
        assert asked
        assert {arguments["ahead"] for arguments in asked} == {ahead}


def test_drift_leaves_the_floor_to_the_baseline_s_own_process() -> None:
    table = Table(scores, scores)
    pair.drift(table.base, table.variant)
    assert not table.notes.of("baseline", "floor")
    assert "floor" not in [do for do, _arguments in table.base.worker.asked]  # type: ignore[attr-defined]


def test_the_floor_is_of_three_windows_and_a_few_tokens_more() -> None:
    table = Table(scores, scores)
    pair.floor(table.base)
    (found,) = table.notes.of("baseline", "floor")
    assert len(found) == 3
    asked = [arguments for do, arguments in table.base.worker.asked if do == "floor"]  # type: ignore[attr-defined]
    assert [one["how"] for one in asked] == ["shapes", "threads", "batch"]
    for one in asked:
        assert one == {"starts": pair.window_starts(100, 16, 48), "window": 16, "extra": 8, "how": one["how"]}
    (further,) = table.notes.of("baseline", "floors")
    assert {how: len(windows) for how, windows in further.items()} == {"threads": 3, "batch": 3}
    assert table.variant.worker.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("facts", "drift"),
    [
        ({"random_weights": True}, {}),
        ({}, {"tokens": 0}),
        ({"context": 23}, {}),  # a window of 16 and 8 tokens more
        ({}, {"window": 128}),
    ],
)
def test_no_floor_where_no_drift_is_told_from_it(facts: dict[str, object], drift: dict[str, int]) -> None:
    table = Table(scores, scores, facts, drift=drift)
    pair.floor(table.base)
    assert not table.notes.of("baseline", "floor")


def test_a_floor_that_just_fits_the_context() -> None:
    table = Table(scores, scores, {"context": 24})
    pair.floor(table.base)
    assert len(table.notes.of("baseline", "floor")) == 1


@pytest.mark.parametrize(
    ("facts", "drift", "expected"),
    [
        ({"random_weights": True}, {}, "random weights have no quality to lose"),
        ({}, {"tokens": 0}, "drift.tokens is 0"),
        ({}, {"window": 128}, "the evaluation text has 100 tokens, a window 128"),
        ({"context": 8}, {}, "does not fit the context of 8"),
    ],
)
def test_no_drift_has_a_reason(facts: dict[str, object], drift: dict[str, int], expected: str) -> None:
    assert expected in reason(Table(scores, scores, facts, drift=drift))


def test_another_tokenizer_has_no_token_level_drift() -> None:
    table = Table(
        scores, lambda do, a: {"tokens": 90, "digest": "other"} if do == "corpus" else scores(do, a)
    )
    assert "another tokenizer" in reason(table)


def test_another_vocabulary_has_no_drift() -> None:
    table = Table(scores, scores)
    table.variant.facts = replace(FACTS, vocabulary=11)
    assert "vocabulary of 11" in reason(table)


@pytest.mark.parametrize("stage", ["corpus", "score"])
def test_a_baseline_that_fails_beside_a_variant_is_not_the_variant_s_failure(stage: str) -> None:
    failing: Answer = lambda do, a: VariantFailed(Outcome.OOM_HOST, "gone") if do == stage else scores(do, a)  # noqa: E731
    table = Table(failing, scores)
    with pytest.raises(BaselineDied, match="gone"):
        pair.drift(table.base, table.variant)


@pytest.mark.fault(22)
def test_windows_that_are_missing_are_not_averaged() -> None:
    def short(do: str, arguments: Mapping[str, Any]) -> dict[str, Any] | Exception:
        reply = scores(do, arguments)
        return {"windows": reply["windows"][:-1]} if do == "score" else reply

    table = Table(scores, short)
    with pytest.raises(VariantFailed, match="3 windows instead of 4"):
        pair.drift(table.base, table.variant)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
