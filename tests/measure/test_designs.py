"""How both sides share the machine: which design on which device, and that no probe touches what is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from desk import Desk, Process, Reply

from bench.config.settings import RuntimeBlock
from bench.errors import Outcome, VariantFailed
from bench.measure import designs, fresh_pair, units
from bench.measure.events import Noted
from bench.measure.together import BaselineDied
from bench.measure.units import Comparison, UnitExtras
from bench.stats.pairs import OTHER_KERNELS, Kernels, pair_ratio, prior_of
from bench.worker.loop import TIMED

Patch = pytest.MonkeyPatch
GPU = {"device": "cuda:0"}
ALONE = ["solo", "device_times", "memory", "energy", "profile", "together"]
KERNELS = Kernels("transformers", None, ())
APART = ["load", "prompts", "warm_up", "alone"]
DRIFT = ["load", "corpus", "score"]


def test_what_a_device_gets(monkeypatch: Patch) -> None:
    assert designs.chosen("auto", on_gpu=True) == "requests"
    assert designs.chosen("auto", on_gpu=False) == "steps"
    assert designs.chosen("auto", on_gpu=False, alike=True) == "slices"
    assert designs.chosen("auto", on_gpu=True, alike=True) == "requests"
    assert {designs.chosen(name, on_gpu=True) for name in ("steps", "abba")} == {"steps", "abba"}
    assert designs.how("steps", on_gpu=False) == {}
    for processors, spins in ((2, False), (16, True)):
        monkeypatch.setattr(designs, "cpu_count", lambda n=processors: n)
        assert designs.how("requests", on_gpu=True) == {"spins": spins, "wake": 4}
        assert designs.how("steps", on_gpu=True) == {"spins": spins, "wake": 0}


@pytest.mark.parametrize(
    ("elsewhere", "threads", "wanted", "design"),
    [
        (0.01, 1, "auto", "slices"),
        (0.02, 1, "auto", "steps"),
        (None, 1, "auto", "steps"),
        (0.01, 2, "auto", "steps"),
        (0.01, None, "auto", "slices"),
        (0.01, 1, "steps", "steps"),
        (0.01, 1, "requests", "requests"),
    ],
)
def test_sides_of_a_gate_share_a_processor_if_they_can(
    monkeypatch: Patch, elsewhere: float | None, threads: int | None, wanted: str, design: str
) -> None:
    """One thread each, hardly anything outside it, and a kernel that counts what it waits."""
    desk = Desk(monkeypatch, facts={"threads": threads}, elsewhere=[elsewhere], design=wanted)
    comparison = Comparison(
        desk.group, desk.group.variants[0], replace(desk.context, duets=False), desk.fetch, batches=2
    )
    unit = comparison.measure(1, UnitExtras())
    assert (unit.design, unit.void) == (design, "")
    (asked,) = desk.arguments("base", "duet")
    assert asked.get("slices", False) is (design == "slices")
    pinned = [process.pinned[0] for process in desk.processes if process.pinned]
    assert (len(pinned) == 2 and len(pinned[0]) == 1 and pinned[0] == pinned[1]) is (
        design == "slices" or threads == 1
    )


@pytest.mark.parametrize(("elsewhere", "design"), [(0.0, "slices"), (0.5, "steps")])
def test_a_row_of_a_run_shares_a_processor_if_it_runs_the_kernels_of_its_baseline(
    monkeypatch: Patch, elsewhere: float, design: str
) -> None:
    alike = Desk(monkeypatch, facts={"threads": 1}, elsewhere=[elsewhere])
    assert {unit["design"] for unit in alike.run().notes.units} == {design}
    for wanted, has in (("auto", "steps"), ("slices", design)):
        unlike = Desk(monkeypatch, facts={"threads": 1}, elsewhere=[elsewhere], design=wanted)
        half = replace(unlike.group.variants[0], runtime=RuntimeBlock(dtype="bfloat16"))
        unlike.group = replace(unlike.group, variants=(half,))
        assert {unit["design"] for unit in unlike.run().notes.units} == {has}


def test_slices_on_a_gpu_are_requests(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, facts={**GPU, "threads": 1}, elsewhere=[0.0], design="slices").run()
    assert {unit["design"] for unit in desk.notes.units} == {"requests"}


def test_requests_that_compute_elsewhere_although_the_warm_up_did_not(monkeypatch: Patch) -> None:
    """The pair is void and the next ones take turns; the answer of the warm-up may have come from a cache."""
    desk = Desk(monkeypatch, facts={"threads": 1}, elsewhere=[0.0, 0.3], design="slices").run()
    first, *others = desk.notes.units
    assert (first["design"], first["void"]) == ("slices", designs.OUTSIDE)
    assert {(unit["design"], unit["void"]) for unit in others} == {("steps", "")}
    gate = replace(desk.context, duets=False)
    comparison = Comparison(desk.group, desk.group.variants[0], gate, desk.fetch, batches=2)
    assert comparison.measure(1, UnitExtras()).void == designs.OUTSIDE
    assert comparison.measure(2, UnitExtras(share=False)).design == "steps"


def test_on_a_cpu_nothing_has_changed(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch).run()
    for arguments in desk.arguments("base", "duet"):
        assert set(arguments) == {"batches", "firsts", "me"}
    assert {unit["design"] for unit in desk.notes.units} == {"steps"}


def test_on_a_gpu_whole_requests_take_turns(monkeypatch: Patch) -> None:
    """Twelve of them, of which the workload has six: each twice."""
    monkeypatch.setattr(designs, "cpu_count", lambda: 16)
    desk = Desk(monkeypatch, facts=GPU).run()
    for arguments in desk.arguments("variant", "duet"):
        assert (arguments["counts"], arguments["wake"], arguments["spins"]) == ([4, 4], 4, True)
        assert arguments["batches"] == [*range(6), *range(6)]
    assert {unit["design"] for unit in desk.notes.units} == {"requests"}
    assert desk.asked("variant", 1) == ["load", "prompts", "warm_up", "duet", *ALONE, "corpus", "score"]


def test_a_config_may_ask_for_steps_on_a_gpu(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, facts=GPU, design="steps").run()
    assert all("counts" not in one and one["wake"] == 0 for one in desk.arguments("base", "duet"))


def test_requests_in_turns_on_a_cpu(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, design="requests").run()
    assert all(one["counts"] == [4, 4] and "wake" not in one for one in desk.arguments("base", "duet"))


# ---- one after the other -----------------------------------------------------------------------------


def test_abba(monkeypatch: Patch) -> None:
    """A process at a time; two pairs in a row mirror each other; drift comes in a pair of its own."""
    desk = Desk(monkeypatch, (100,), (50,), design="abba", max_half_width=0.5).run()
    assert len(desk.notes.units) == 4
    assert {unit["design"] for unit in desk.notes.units} == {"abba"}
    first = [unit["spawned_first"] for unit in desk.notes.units]
    assert first[0] != first[1]
    assert first[2] != first[3]
    assert [unit["variant_ns"][0][0] for unit in desk.notes.units] == [12_500_000] * 4
    assert desk.asked("variant", 1) == [*APART, "solo", "memory", "energy", "profile", "together"]
    assert desk.asked("variant", 2) == desk.asked("base", 2) == DRIFT
    for number in (1, 3, 4, 5):
        assert desk.asked("base", number) == APART
    for number in (3, 4, 5):
        assert desk.asked("variant", number) == APART
    assert {one["batches"] == [0, 1] for one in desk.arguments("base", "alone")[:1]} == {True}


def test_only_one_process_lives_at_a_time(monkeypatch: Patch) -> None:
    seen: list[int] = []

    def look(process: Process, do: str) -> Reply | None:
        if do == "alone":
            seen.append(sum(not one.closed for one in process.desk.processes))
        return None

    Desk(monkeypatch, design="abba", replies=look).run()
    assert set(seen) == {1}


def test_abba_is_void_where_others_were_busy(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, design="abba", busy=(0.2,)).run()
    voids = [unit["void"] for unit in desk.notes.units]
    assert voids[0] == "others had 20% of the processors"
    assert not any(voids[1:])


def test_its_interval_is_wider(monkeypatch: Patch) -> None:
    """The same four pairs say less about processes that ran one after the other."""
    in_turns = pair_ratio([50, 51, 50, 49], [100] * 4, OTHER_KERNELS)
    apart = pair_ratio([50, 51, 50, 49], [100] * 4, prior_of(KERNELS, KERNELS, apart=True))
    assert apart.high - apart.low > 1.1 * (in_turns.high - in_turns.low)
    noisy = (100, 104, 98)
    assert Desk(monkeypatch, noisy).run().pairs <= len(
        Desk(monkeypatch, noisy, design="abba").run().notes.units
    )


@pytest.mark.parametrize("made", [True, False])
def test_what_is_made_once_is_made_in_a_process_of_its_own(monkeypatch: Patch, made: bool) -> None:
    bills = [
        [{"what": "training", "took_s": 60.0, "peak_bytes": 5, "reused": reused}] for reused in (False, True)
    ]
    desk = Desk(monkeypatch, design="abba", bills=bills if made else [])
    desk.run()
    assert (desk.asked("variant", 1) == ["load"]) is made
    if made:
        kept = desk.notes.of("v", "loaded")[-1].evidence[-1]["one_off"]
        assert [bill["reused"] for bill in kept] == [False]


@pytest.mark.parametrize(("do", "side"), [(do, side) for do in APART for side in ("base", "variant")])
def test_who_is_to_blame(monkeypatch: Patch, do: str, side: str) -> None:
    def fail(process: Process, asked: str) -> Reply | None:
        mine = (process.side, asked) == (side, do)
        return VariantFailed(Outcome.SEGFAULT, "planted") if mine else None

    desk = Desk(monkeypatch, design="abba", replies=fail)
    with pytest.raises(BaselineDied if side == "base" else VariantFailed, match="planted"):
        desk.run()
    assert all(process.closed for process in desk.processes)


@pytest.mark.parametrize("design", ["steps", "abba"])
def test_answers_that_come_as_a_whole_are_counted_in_every_design(monkeypatch: Patch, design: str) -> None:
    """Two prompts of three tokens a pair; without the tokens a cost per token would be one per request."""

    def answer(process: Process, do: str) -> Reply | None:
        each = 5 if process.side == "base" else 8
        times = {"durations_ns": [[1000] * 4] * 2, "output_tokens": [each, each]}
        return times if do in ("duet", "alone") else None

    desk = Desk(monkeypatch, design=design, replies=answer, max_half_width=0.9).run()
    assert [unit["tokens"] for unit in desk.notes.units] == [{"baseline": 16, "variant": 22}] * 4


# ---- two models that do not fit ----------------------------------------------------------------------


def crowded(side: str, do: str, kind: Outcome = Outcome.OOM_GPU) -> Callable[[Process, str], Reply | None]:
    """A GPU that has room for one process: the second to get there runs out of memory."""

    def answer(process: Process, asked: str) -> Reply | None:
        others = any(not one.closed for one in process.desk.processes if one is not process)
        full = others and (process.side, asked) == (side, do)
        return VariantFailed(kind, "CUDA out of memory") if full else None

    return answer


@pytest.mark.parametrize("side", ["base", "variant"])
@pytest.mark.parametrize("do", ["load", "warm_up", "duet"])
def test_models_that_fit_alone_run_one_by_one(monkeypatch: Patch, side: str, do: str) -> None:
    desk = Desk(monkeypatch, facts=GPU, replies=crowded(side, do), max_half_width=0.5).run()
    assert {unit["design"] for unit in desk.notes.units} == {"abba"}
    assert [unit["number"] for unit in desk.notes.units] == [1, 2, 3, 4]
    told = [event.text for event in desk.told if isinstance(event, Noted)]
    assert told == ["v and its baseline do not fit the GPU together: they run one by one"]
    reasons = desk.notes.of("v", "drift_reason")
    assert reasons == (["the model and its baseline do not fit the GPU together"] if do == "load" else [])


def test_a_model_that_does_not_fit_alone_fails(monkeypatch: Patch) -> None:
    def full(process: Process, asked: str) -> Reply | None:
        no = (process.side, asked) == ("variant", "load")
        return VariantFailed(Outcome.OOM_GPU, "CUDA out of memory") if no else None

    with pytest.raises(VariantFailed, match="out of memory"):
        Desk(monkeypatch, facts=GPU, replies=full).run()


def test_the_host_s_memory_is_another_matter(monkeypatch: Patch) -> None:
    with pytest.raises(VariantFailed, match="out of memory"):
        Desk(monkeypatch, replies=crowded("variant", "load", Outcome.OOM_HOST)).run()


# ---- the probe never touches what is timed -----------------------------------------------------------


@pytest.mark.parametrize("facts", [{}, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("design", ["auto", "steps", "requests", "abba"])
def test_nothing_is_timed_after_the_profile(monkeypatch: Patch, design: str, facts: dict[str, Any]) -> None:
    desk = Desk(monkeypatch, (100, 110, 120), facts=facts, design=design, max_half_width=0.01).run()
    profiled = [process for process in desk.processes if "profile" in _asked(process)]
    assert [process.side for process in profiled] == ["variant"]
    for process in profiled:
        asked = _asked(process)
        assert not set(asked[asked.index("profile") :]) & set(TIMED)


def _asked(process: Process) -> list[str]:
    return [do for do, _arguments in process.asked]


@pytest.mark.parametrize("rows", [True, False])
def test_a_unit_of_the_gate_is_timed_before_it_is_looked_at(monkeypatch: Patch, rows: bool) -> None:
    desk = Desk(monkeypatch)
    monkeypatch.setattr(units, "open_worker", desk.open_worker)
    monkeypatch.setattr(fresh_pair, "open_worker", desk.open_worker)
    comparison = Comparison(desk.group, desk.group.variants[0], desk.context, desk.fetch, 2)
    wanted = UnitExtras(counters=True, memory=True, row=rows, base_row=rows, files_read=rows)
    unit = comparison.measure(1, wanted)
    assert unit.counters is not None
    assert unit.peaks is not None
    for side in ("base", "variant"):
        looks = ["memory", "count", *(["profile"] if rows else [])]
        assert desk.asked(side, 1) == ["load", "prompts", "warm_up", "duet", *looks]


@pytest.mark.parametrize("made", [True, False])
def test_a_unit_of_the_gate_is_timed_in_processes_that_have_made_nothing(
    monkeypatch: Patch, made: bool
) -> None:
    """What calibration leaves behind in a process would be one side's alone."""
    bills = [
        [{"what": "training", "took_s": 60.0, "peak_bytes": 5, "reused": reused}] for reused in (False, True)
    ]
    desk = Desk(monkeypatch, bills=bills if made else [])
    monkeypatch.setattr(units, "open_worker", desk.open_worker)
    monkeypatch.setattr(fresh_pair, "open_worker", desk.open_worker)
    comparison = Comparison(desk.group, desk.group.variants[0], desk.context, desk.fetch, 2)
    comparison.measure(1, UnitExtras(row=True, base_row=True, files_read=True))
    for side in ("base", "variant"):
        assert (desk.asked(side, 1) == ["load"]) is made
        assert desk.asked(side, 2 if made else 1) == ["load", "prompts", "warm_up", "duet", "profile"]
    steps = desk.notes.of("v", "loaded")[-1].evidence[-1]
    assert [bill["reused"] for bill in steps["one_off"]] == [False] * made
