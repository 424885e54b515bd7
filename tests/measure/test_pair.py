"""A variant beside its baseline, from the harness's side: workers whose answers are data."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import ScriptedWorker
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import Outcome, VariantFailed
from bench.measure import pair
from bench.measure.arm import ArmUnderTest, Bench
from bench.measure.together import BaselineDied
from bench.measure.worker_process import PeerGone
from bench.models.reference import Named
from bench.spec import Arm, DriftBlock, MeasureBlock, RuntimeBlock, WorkloadBlock
from bench.stats.intervals import ratio_interval

WORKLOAD = WorkloadBlock(name="chat", requests=6, output_tokens=4)
FACTS = {"threads": 2, "device": "cpu", "random_weights": False, "vocabulary": 10, "context": 64}
MS = 1_000_000
Answer = Callable[[str, Mapping[str, Any]], dict[str, Any] | Exception]


class Notebook:
    """A journal in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, kind: str, payload: Mapping[str, object]) -> None:
        self.records.append(dict(payload))

    def sync(self) -> None:
        return None

    def of(self, name: str, key: str) -> list[Any]:
        return [record[key] for record in self.records if record["name"] == name and key in record]


class Table:
    """A baseline and a variant at one bench."""

    def __init__(
        self, base: Answer, variant: Answer, facts: Mapping[str, object] | None = None, **settings: Any
    ) -> None:
        self.notes, self.said = Notebook(), []
        measure = MeasureBlock(**settings.pop("measure", {}))
        drift = DriftBlock(**{"tokens": 64, "window": 16, **settings.pop("drift", {})})
        bench = Bench(
            Path(), self.notes, lambda who, what: self.said.append(what), lambda: None, measure, drift, "text"
        )  # type: ignore[arg-type]
        self.base, self.variant = (
            ArmUnderTest(self.arm(name, **settings), "", bench, ScriptedWorker(answer))  # type: ignore[arg-type]
            for name, answer in (("baseline", base), ("variant", variant))
        )
        self.base.facts = self.variant.facts = {**FACTS, **(facts or {})}

    @staticmethod
    def arm(name: str, workloads: Mapping[str, WorkloadBlock] | None = None) -> Arm:
        workload = (workloads or {}).get(name, WORKLOAD)
        return Arm(name, name == "baseline", Named("m"), RuntimeBlock(), workload, ())

    @property
    def rounds(self) -> int:
        return len(self.notes.of("variant", "duet"))


def lasting(*request_ms: float, turns: int = 4) -> Answer:
    """Answers a duet with requests that last this long, over and over, and a text of 100 tokens."""
    times = cycle(request_ms)

    def answer(do: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if do == "corpus":
            return {"tokens": 100, "digest": "d"}
        if do in ("score", "floor"):
            rows = len(arguments["starts"])
            one = {
                "kld": [0.5] * 15,
                "same_top": [1] * 15,
                "ln_p_base": [-1.0] * 15,
                "ln_p_variant": [-2.0] * 15,
            }
            return {"windows": [one] * rows}
        assert do == "duet"
        share = [round(next(times) * MS / turns) for _ in arguments["batches"]]
        return {"durations_ns": [[ns] * turns for ns in share]}

    return answer


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


# ---- the duet ------------------------------------------------------------------------------------


def test_a_quiet_duet_stops_after_one_round() -> None:
    table = Table(lasting(100), lasting(50), measure={"max_half_width": 0.03})
    pair.duet(table.base, table.variant)
    assert table.rounds == 1


def test_a_noisy_duet_goes_on_to_the_limit() -> None:
    table = Table(lasting(100, 300), lasting(50, 400, 90), measure={"max_half_width": 0.03, "max_rounds": 5})
    pair.duet(table.base, table.variant)
    assert table.rounds == 5


def expected_rounds(ours: list[float], theirs: list[float], width: float, limit: int) -> int:
    for number in range(1, limit + 1):
        found = ratio_interval(theirs[: 6 * number], ours[: 6 * number])
        assert found.low is not None
        assert found.high is not None
        if (found.high - found.low) / 2 / found.value <= width:
            return number
    return limit


@pytest.mark.parametrize("seed", range(12))
def test_stopping_looks_at_the_width_alone(seed: int) -> None:
    """The same noise around equal, half and double costs: the same number of rounds."""
    rng = random.Random(seed)
    ours = [100 * rng.lognormvariate(0, 0.05) for _ in range(60)]
    noise = [rng.lognormvariate(0, 0.05) for _ in range(60)]
    rounds = set()
    for level in (0.5, 1.0, 1.04, 2.0):
        theirs = [a * level * n for a, n in zip(ours, noise, strict=True)]
        measure = {"max_half_width": 0.035, "max_rounds": 10}
        table = Table(lasting(*ours), lasting(*theirs), measure=measure)
        pair.duet(table.base, table.variant)
        rounds.add(table.rounds)
        assert table.rounds == expected_rounds(ours, theirs, 0.035, 10)
    assert len(rounds) == 1


def test_every_round_is_in_the_journal_with_its_noise() -> None:
    table = Table(lasting(100, 150), lasting(70, 90, 80), measure={"max_half_width": 0.001, "max_rounds": 3})
    pair.duet(table.base, table.variant)
    batches = [one for duet in table.notes.of("variant", "duet") for one in duet]
    assert [sum(one["baseline_ns"]) for one in batches] == [100 * MS, 150 * MS] * 9
    assert [sum(one["variant_ns"]) for one in batches] == [70 * MS, 90 * MS, 80 * MS] * 6
    assert [noise[0]["stage"] for noise in table.notes.of("variant", "noise")] == ["duet"] * 3
    assert not table.notes.of("baseline", "duet")


def test_both_sides_get_the_same_schedule_and_a_fresh_one_each_round() -> None:
    table = Table(lasting(100, 150), lasting(70, 90, 80), measure={"max_half_width": 0.001, "max_rounds": 3})
    pair.duet(table.base, table.variant)
    ours, theirs = (under.worker.asked for under in (table.base, table.variant))  # type: ignore[attr-defined]
    assert [a["firsts"] for _, a in ours] == [a["firsts"] for _, a in theirs]
    assert {a["me"] for _, a in ours} == {0}
    assert {a["me"] for _, a in theirs} == {1}
    schedules = [a["firsts"] for _, a in ours]
    assert all(len(rows) == 6 and {len(row) for row in rows} == {4} for rows in schedules)
    assert schedules[0] != schedules[1] != schedules[2]


def test_the_schedule_comes_from_the_seed() -> None:
    def schedule(seed: int) -> Any:
        table = Table(lasting(1), lasting(1), measure={"seed": seed})
        pair.duet(table.base, table.variant)
        return table.base.worker.asked[0][1]["firsts"]  # type: ignore[attr-defined]

    assert schedule(0) == schedule(0)
    assert schedule(0) != schedule(1)


def test_both_sides_go_first_about_equally_often() -> None:
    workload = WorkloadBlock(name="chat", requests=100, output_tokens=50)
    table = Table(
        lasting(1, turns=50), lasting(1, turns=50), workloads={"baseline": workload, "variant": workload}
    )
    pair.duet(table.base, table.variant)
    firsts = [side for row in table.base.worker.asked[0][1]["firsts"] for side in row]  # type: ignore[attr-defined]
    assert 0.46 < sum(firsts) / len(firsts) < 0.54


def test_batches_are_the_unit() -> None:
    workload = WorkloadBlock(name="chat", requests=10, output_tokens=4, batch_size=4)
    table = Table(lasting(1), lasting(1), workloads={"baseline": workload, "variant": workload})
    pair.duet(table.base, table.variant)
    assert table.base.worker.asked[0][1]["batches"] == [0, 1, 2]  # type: ignore[attr-defined]


def test_another_workload_has_no_duet() -> None:
    other = WorkloadBlock(name="chat", requests=6, output_tokens=8)
    table = Table(lasting(1), lasting(1), workloads={"variant": other})
    pair.duet(table.base, table.variant)
    assert table.rounds == 0
    assert "no duet" in table.said[0]


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
@pytest.mark.parametrize("side", ["baseline", "variant"])
def test_durations_that_cannot_be_are_not_averaged(wrong: Any, side: str) -> None:
    bad: Answer = lambda do, arguments: {"durations_ns": wrong}  # noqa: E731
    table = Table(bad if side == "baseline" else lasting(1), bad if side == "variant" else lasting(1))
    with pytest.raises(BaselineDied if side == "baseline" else VariantFailed) as caught:
        pair.duet(table.base, table.variant)
    failure = getattr(caught.value, "failure", caught.value)
    assert failure.outcome == Outcome.PROTOCOL_ERROR
    assert table.rounds == 0


# ---- one processor for two single-threaded workers --------------------------------------------------


def pins(table: Table) -> list[list[list[int]]]:
    pair.duet(table.base, table.variant)
    return [under.worker.pinned for under in (table.base, table.variant)]  # type: ignore[attr-defined]


def test_two_single_threaded_workers_share_the_last_processor() -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    found = pins(Table(lasting(1), lasting(1), {"threads": 1}))
    assert found == [[everywhere[-1:], everywhere]] * 2


@pytest.mark.parametrize("facts", [{"threads": 2}, {"threads": 1, "device": "cuda:0"}, {"threads": None}])
def test_others_move_freely(facts: dict[str, object]) -> None:
    assert pins(Table(lasting(1), lasting(1), facts)) == [[], []]


def test_one_single_threaded_worker_alone_is_not_pinned() -> None:
    table = Table(lasting(1), lasting(1))
    table.variant.facts = {**FACTS, "threads": 1}
    assert pins(table) == [[], []]


def test_pins_are_taken_off_after_a_failure() -> None:
    died: Answer = lambda do, arguments: VariantFailed(Outcome.SEGFAULT, "planted")  # noqa: E731
    table = Table(lambda do, arguments: PeerGone("baseline"), died, {"threads": 1})
    with pytest.raises(VariantFailed, match="planted"):
        pair.duet(table.base, table.variant)
    everywhere = sorted(os.sched_getaffinity(0))
    assert table.base.worker.pinned[-1] == everywhere  # type: ignore[attr-defined]


# ---- drift ---------------------------------------------------------------------------------------


def reason(table: Table) -> str:
    pair.drift(table.base, table.variant)
    assert not table.notes.of("variant", "drift")
    (found,) = table.notes.of("variant", "drift_reason")
    return str(found)


def test_drift_is_scored_window_by_window() -> None:
    table = Table(lasting(1), lasting(1))
    pair.drift(table.base, table.variant)
    windows = [one for windows in table.notes.of("variant", "drift") for one in windows]
    assert len(windows) == 64 // 16
    asked = [arguments for do, arguments in table.variant.worker.asked if do == "score"]  # type: ignore[attr-defined]
    assert [start for one in asked for start in one["starts"]] == pair.window_starts(100, 16, 64)


def test_the_text_is_cut_into_calls_of_a_few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "WINDOWS_A_CALL", 3)
    table = Table(lasting(1), lasting(1))
    pair.drift(table.base, table.variant)
    assert [len(windows) for windows in table.notes.of("variant", "drift")] == [3, 1]


def test_the_floor_is_measured_once_a_baseline() -> None:
    table = Table(lasting(1), lasting(1))
    pair.drift(table.base, table.variant)
    pair.drift(table.base, table.variant)
    assert len(table.notes.of("baseline", "floor")) == 1
    assert len(table.notes.of("baseline", "floor")[0]) == 3


def test_a_baseline_started_again_still_leaves_its_floor() -> None:
    """Its figures are in the journal from before; the floor is measured beside the first variant."""
    table = Table(lasting(1), lasting(1))
    table.base.reopened = True
    pair.drift(table.base, table.variant)
    assert len(table.notes.of("baseline", "floor")) == 1
    assert not table.notes.of("baseline", "noise")


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
    assert expected in reason(Table(lasting(1), lasting(1), facts, drift=drift))


def test_another_tokenizer_has_no_token_level_drift() -> None:
    other = lasting(1)
    table = Table(
        lasting(1), lambda do, a: {"tokens": 90, "digest": "other"} if do == "corpus" else other(do, a)
    )
    assert "another tokenizer" in reason(table)


def test_another_vocabulary_has_no_drift() -> None:
    table = Table(lasting(1), lasting(1))
    table.variant.facts = {**FACTS, "vocabulary": 11}
    assert "vocabulary of 11" in reason(table)


@pytest.mark.parametrize("stage", ["corpus", "floor"])
def test_a_baseline_that_fails_beside_a_variant_is_not_the_variant_s_failure(stage: str) -> None:
    good = lasting(1)
    failing: Answer = lambda do, a: VariantFailed(Outcome.OOM_HOST, "gone") if do == stage else good(do, a)  # noqa: E731
    table = Table(failing, lasting(1))
    with pytest.raises(BaselineDied, match="gone"):
        pair.drift(table.base, table.variant)


def test_windows_that_are_missing_are_not_averaged() -> None:
    good = lasting(1)

    def short(do: str, arguments: Mapping[str, Any]) -> dict[str, Any] | Exception:
        reply = good(do, arguments)
        return {"windows": reply["windows"][:-1]} if do == "score" and isinstance(reply, dict) else reply

    table = Table(lasting(1), short)
    with pytest.raises(VariantFailed, match="3 windows instead of 4"):
        pair.drift(table.base, table.variant)


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
