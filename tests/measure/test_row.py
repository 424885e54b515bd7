"""One row: how many pairs, in which order, what is void, and what no process does before another is timed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, replace
from itertools import chain, repeat
from typing import Any

import pytest
from desk import Desk, Process, Reply

from bench.config.settings import WorkloadBlock
from bench.errors import Outcome, VariantFailed
from bench.measure.designs import batches_of
from bench.measure.pairs import half_width
from bench.measure.row import VariantRun
from bench.measure.together import BaselineDied
from bench.pricing.cost import Price
from bench.records import Cascaded, Loaded, UnitRecord
from bench.stats.pairs import SAME_KERNELS, pair_ratio
from bench.store.replay import _payload

FIRST_BASE = ["load", "prompts", "warm_up", "duet", "corpus", "score"]
ALONE = ["solo", "memory", "energy", "profile", "together"]
FIRST_VARIANT = ["load", "prompts", "warm_up", "duet", *ALONE, "corpus", "score"]
FURTHER = ["load", "prompts", "warm_up", "duet"]
Patch = pytest.MonkeyPatch


def units(desk: Desk) -> list[UnitRecord]:
    """The journal's units as replay reads them."""
    return [
        UnitRecord(**{key: value for key, value in _payload(one).items() if key != "kind"})
        for one in desk.notes.units
    ]


# ---- what happens, in order --------------------------------------------------------------------------


def test_a_quiet_row_has_as_many_pairs_as_asked_for(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch).run()
    assert desk.pairs == 4
    assert [unit["number"] for unit in desk.notes.units] == [1, 2, 3, 4]
    assert {unit["void"] for unit in desk.notes.units} == {""}
    assert desk.asked("base", 1) == FIRST_BASE
    assert desk.asked("variant", 1) == FIRST_VARIANT
    for number in (2, 3, 4):
        assert desk.asked("base", number) == desk.asked("variant", number) == FURTHER


@pytest.mark.parametrize("processes", [1, 2, 7])
def test_the_number_of_pairs_is_the_config_s(monkeypatch: Patch, processes: int) -> None:
    assert Desk(monkeypatch, processes=processes, max_half_width=0.9).run().pairs == processes


def test_both_sides_have_the_same_past_when_they_are_timed(monkeypatch: Patch) -> None:
    """In every pair, the first with its kernels and its drift included."""
    desk = Desk(monkeypatch, (100, 100, 120), (50, 80, 50), max_half_width=0.001).run()
    assert desk.pairs == 12
    for number in range(1, desk.pairs + 1):
        base, variant = (desk.asked(side, number) for side in ("base", "variant"))
        assert base[: base.index("duet")] == variant[: variant.index("duet")] == FURTHER[:-1]
    for one, other in zip(*(desk.arguments(side, "warm_up") for side in ("base", "variant")), strict=True):
        assert one == other
    checked = [arguments["finite"] for arguments in desk.arguments("variant", "warm_up")]
    assert checked == [True] + [False] * 11


def test_nothing_is_timed_after_drift(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, (100, 100, 120), (50, 80, 50), max_half_width=0.001).run()
    for process in desk.processes:
        asked = [do for do, _arguments in process.asked]
        if "corpus" in asked:
            assert set(asked[asked.index("corpus") :]) == {"corpus", "score"}
    assert [number for _side, number, do in desk.log if do == "score"] == [1, 1]


def test_every_process_has_ended_before_the_next_pair_begins(monkeypatch: Patch) -> None:
    seen: list[tuple[int, bool]] = []

    def look(process: Process, do: str) -> Reply | None:
        if do == "load" and process.side == "base":
            before = [one for one in process.desk.processes if one.number < process.number]
            seen.append((process.number, all(one.closed for one in before)))
        return None

    desk = Desk(monkeypatch, replies=look).run()
    assert seen == [(1, True), (2, True), (3, True), (4, True)]
    assert all(process.closed for process in desk.processes)


def test_the_row_s_own_record_is_the_first_process_s(monkeypatch: Patch) -> None:
    """Further pairs are units and nothing else, and the baseline beside a variant adds to no row."""
    desk = Desk(monkeypatch).run()
    assert len(desk.notes.of("v", "loaded")) == len(desk.notes.of("v", "warm_up")) == 1
    assert len(desk.notes.of("v", "solo")) == len(desk.notes.of("v", "drift")) == 1
    assert not [record for record in desk.notes.records if record.get("name") == "baseline"]


def test_another_workload_has_no_turns(monkeypatch: Patch) -> None:
    other = WorkloadBlock(name="chat", requests=6, output_tokens=8)
    desk = Desk(monkeypatch, base_workload=other).run()
    assert (desk.pairs, desk.notes.units) == (1, [])
    assert desk.asked("variant", 1) == [do for do in FIRST_VARIANT if do != "duet"]
    assert len(desk.notes.of("v", "solo")) == 1


# ---- what the units say ------------------------------------------------------------------------------


def test_a_unit_to_the_digit(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, (100, 104), (50, 40)).run()
    first, second = units(desk)[:2]
    assert (first.group, first.variant, first.batches) == ("", "v", (0, 1))
    assert [list(turns) for turns in first.baseline_ns] == [[25_000_000] * 4] * 2
    assert [list(turns) for turns in second.variant_ns] == [[10_000_000] * 4] * 2
    assert first.cold == {side: {"load_s": 1.5, "first_request_ms": 7.0} for side in ("baseline", "variant")}
    assert first.noise["stage"] == "unit"
    assert first.noise["foreign_share"] == 0


def test_batches_come_in_rotation(monkeypatch: Patch) -> None:
    """Six requests over four pairs: two each, every request as often as another over three pairs."""
    desk = Desk(monkeypatch).run()
    assert [unit["batches"] for unit in desk.notes.units] == [(0, 1), (2, 3), (4, 5), (0, 1)]
    assert [arguments["batches"] for arguments in desk.arguments("base", "duet")] == [
        [0, 1], [2, 3], [4, 5], [0, 1],
    ]  # fmt: skip


@pytest.mark.parametrize(("number", "each", "available"), [(1, 6, 6), (3, 2, 5), (9, 1, 4), (2, 7, 3)])
def test_rotation_by_hand(number: int, each: int, available: int) -> None:
    endless = [i % available for i in range(number * each)]
    assert batches_of(number, each, available) == endless[-each:]


def test_one_process_decodes_everything(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, processes=1, max_half_width=0.9).run()
    assert [unit["batches"] for unit in desk.notes.units] == [tuple(range(6))]


def test_batches_and_not_requests_are_counted(monkeypatch: Patch) -> None:
    load = WorkloadBlock(name="chat", requests=10, output_tokens=4, batch_size=4)
    solo = {
        "sent_ns": 0,
        "stamps_ns": [1, 2, 3, 4],
        "end_ns": 4,
        "input_tokens": [3] * 5,
        "tokens": [[5] * 4] * 5,
    }
    desk = Desk(
        monkeypatch,
        workload=load,
        replies=lambda _process, do: {"batches": [solo] * 2} if do == "solo" else None,
    )
    assert [unit["batches"] for unit in desk.run().notes.units] == [(0,), (1,), (2,), (0,)]


def test_who_starts_first_is_a_coin_of_the_seed_and_then_the_other_side(monkeypatch: Patch) -> None:
    def coins(seed: int) -> list[int]:
        desk = Desk(monkeypatch, processes=12, seed=seed, max_half_width=0.9).run()
        started = [desk.processes[i].side == "variant" for i in range(0, 24, 2)]
        found = [unit["spawned_first"] for unit in desk.notes.units]
        assert found == [int(variant) for variant in started]
        return found

    drawn = [random.Random(f"3//v/{number}").randrange(2) for number in range(1, 13, 2)]
    wanted = [side for coin in drawn for side in (coin, 1 - coin)]
    assert coins(3) == coins(3) == wanted
    assert set(drawn) == {0, 1}
    assert coins(5) != wanted


def width(pairs: Sequence[UnitRecord]) -> float:
    ours = [sum(map(sum, unit.variant_ns)) for unit in pairs]
    theirs = [sum(map(sum, unit.baseline_ns)) for unit in pairs]
    return half_width(pair_ratio(ours, theirs, SAME_KERNELS))


# ---- more pairs --------------------------------------------------------------------------------------


def test_pairs_that_lie_apart_get_company_up_to_the_limit(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, (100,), (50, 60) * 6, max_half_width=0.01, max_rounds=2).run()
    assert desk.pairs == 8


@pytest.mark.parametrize("seed", range(6))
def test_stopping_looks_at_the_width_alone(monkeypatch: Patch, seed: int) -> None:
    """The same spread around less, as much and more: the same number of pairs, and the first narrow one."""
    rng = random.Random(seed)
    spread = [rng.lognormvariate(0, 0.03) for _ in range(12)]
    found = set()
    for level in (0.5, 1.0, 1.02, 2.0):
        desk = Desk(monkeypatch, (1000,), [1000 * level * one for one in spread]).run()
        widths = [width(units(desk)[:n]) for n in range(4, desk.pairs + 1)]
        assert all(width > 0.025 for width in widths[:-1])
        assert widths[-1] <= 0.025 or desk.pairs == 12
        found.add(desk.pairs)
    assert len(found) == 1


# ---- pairs that do not count -------------------------------------------------------------------------


def test_a_void_pair_is_measured_again(monkeypatch: Patch) -> None:
    """With the same requests, so that every request still comes as often as another."""
    desk = Desk(monkeypatch, busy=(0.0, 0.2)).run()
    assert [unit["number"] for unit in desk.notes.units] == [1, 2, 3, 4, 5]
    assert [bool(unit["void"]) for unit in desk.notes.units] == [False, True, False, False, False]
    assert desk.notes.units[1]["void"] == "others had 20% of the processors"
    assert [unit["batches"] for unit in desk.notes.units] == [(0, 1), (2, 3), (2, 3), (4, 5), (0, 1)]


def test_a_void_pair_does_not_widen_the_interval(monkeypatch: Patch) -> None:
    """Were the 500 ms of the void pair counted, there would be twelve pairs."""
    assert Desk(monkeypatch, (100,), (50, 500, 50), busy=(0.0, 0.2)).run().pairs == 5


def test_a_first_pair_that_is_void_still_gives_what_is_measured_alone(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, busy=(0.3,)).run()
    assert desk.asked("variant", 1) == FIRST_VARIANT
    assert len(desk.notes.of("v", "solo")) == 1
    assert desk.pairs == 5


@pytest.mark.parametrize("share", [0.05, 0.06])
def test_the_limit_itself_is_accepted(monkeypatch: Patch, share: float) -> None:
    desk = Desk(monkeypatch, busy=(share,)).run()
    assert bool(desk.notes.units[0]["void"]) is (share > 0.05)


def test_everything_is_accepted_where_the_config_says_so(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, busy=(1.0,) * 4, max_disturbance=1.0).run()
    assert desk.pairs == 4
    assert {unit["void"] for unit in desk.notes.units} == {""}
    assert desk.notes.units[0]["noise"]["foreign_share"] == 1


def test_nothing_is_accepted_where_the_config_says_so(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, busy=(0.001,), max_disturbance=0.0).run()
    assert [bool(unit["void"]) for unit in desk.notes.units] == [True, False, False, False, False]


@pytest.mark.parametrize(("processes", "pairs"), [(1, 2), (2, 3), (4, 5)])
def test_a_machine_that_is_never_quiet_ends_the_row(monkeypatch: Patch, processes: int, pairs: int) -> None:
    """Void pairs are measured again as often as the config has pairs, and the reason says what to do."""
    desk = Desk(monkeypatch, busy=(0.4,) * 50, processes=processes)
    with pytest.raises(VariantFailed) as caught:
        desk.run()
    assert caught.value.outcome == Outcome.UNFIT
    assert caught.value.reason == (
        f"the machine was too busy: {pairs} of {pairs} pairs are void (others had 40% of the processors); "
        "end other programs, or accept more by measure.max_disturbance"
    )
    assert desk.pairs == pairs
    assert len(desk.notes.of("v", "solo")) == 1


@pytest.mark.parametrize(
    ("quiet", "fit"), [(0, False), (1, False), (2, True), (3, True)], ids=["0", "1", "2", "3"]
)
def test_two_quiet_pairs_are_a_measurement(monkeypatch: Patch, quiet: int, fit: bool) -> None:
    desk = Desk(monkeypatch, busy=(*(0.0,) * quiet, *(0.4,) * 50))
    if fit:
        desk.run()
    else:
        with pytest.raises(VariantFailed, match=f"5 of {quiet + 5} pairs are void"):
            desk.run()
    assert desk.pairs == quiet + 5


def test_a_busy_machine_takes_twice_the_pairs_at_most(monkeypatch: Patch) -> None:
    for seed in range(40):
        rng = random.Random(seed)
        desk = Desk(monkeypatch, busy=[0.5 * rng.randrange(2) for _ in range(60)])
        with suppress(VariantFailed):
            desk.run()
        assert desk.pairs <= 8


# ---- what is made once -------------------------------------------------------------------------------


def bill(*, reused: bool, took_s: float = 60.0) -> dict[str, Any]:
    return {"what": "training", "took_s": took_s, "peak_bytes": 5, "reused": reused}


def bills_in(loaded: Loaded) -> list[Sequence[Mapping[str, Any]]]:
    return [step["one_off"] for step in loaded.evidence if step.get("one_off")]


def test_a_load_that_made_something_is_thrown_away(monkeypatch: Patch) -> None:
    """Both sides start again and load what was kept; nothing was timed before, and the bill stays."""
    made, again = bill(reused=False), bill(reused=True)
    desk = Desk(monkeypatch, bills=[[made], [again], [again]]).run()
    assert desk.asked("base", 1) == desk.asked("variant", 1) == ["load"]
    assert desk.asked("base", 2) == FIRST_BASE
    assert desk.asked("variant", 2) == FIRST_VARIANT
    assert desk.pairs == 5
    assert [unit["number"] for unit in desk.notes.units] == [1, 2, 3, 4]
    assert bills_in(desk.notes.of("v", "loaded")[-1]) == [[made]]


def test_what_was_made_in_an_earlier_run_needs_no_second_start(monkeypatch: Patch) -> None:
    desk = Desk(monkeypatch, bills=[[bill(reused=True)]] * 4).run()
    assert desk.pairs == 4
    assert desk.asked("variant", 1) == FIRST_VARIANT
    assert bills_in(desk.notes.of("v", "loaded")[-1]) == [[bill(reused=True)]]


def test_one_of_two_results_made_anew_is_reason_enough(monkeypatch: Patch) -> None:
    both = [bill(reused=True), bill(reused=False, took_s=1.0)]
    desk = Desk(monkeypatch, bills=[both, [bill(reused=True)] * 2]).run()
    assert desk.asked("variant", 1) == ["load"]
    assert bills_in(desk.notes.of("v", "loaded")[-1]) == [both]


def test_a_second_load_that_makes_it_again_is_taken_as_it_is(monkeypatch: Patch) -> None:
    """A cache that keeps nothing does not make a loop."""
    desk = Desk(monkeypatch, bills=[[bill(reused=False)]] * 9).run()
    assert desk.pairs == 5


# ---- who is to blame ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "do"),
    [*((number, do) for number in (1, 3) for do in ("load", "prompts", "warm_up", "duet")), (1, "corpus")],
)
def test_a_baseline_that_fails_beside_a_variant_is_not_the_variant_s_failure(
    monkeypatch: Patch, do: str, number: int
) -> None:
    def fail(process: Process, asked: str) -> Reply | None:
        mine = (process.side, process.number, asked) == ("base", number, do)
        return VariantFailed(Outcome.SEGFAULT, "planted") if mine else None

    desk = Desk(monkeypatch, replies=fail)
    with pytest.raises(BaselineDied, match="planted"):
        desk.run()
    assert all(process.closed for process in desk.processes)
    assert len(desk.notes.units) == (number - 1 if do != "corpus" else 1)


@pytest.mark.parametrize("do", [*FURTHER, *ALONE, "score"])
def test_a_variant_that_fails_ends_its_row_and_its_partner(monkeypatch: Patch, do: str) -> None:
    def fail(process: Process, asked: str) -> Reply | None:
        return VariantFailed(Outcome.OOM_HOST, "gone") if (process.side, asked) == ("variant", do) else None

    desk = Desk(monkeypatch, replies=fail)
    with pytest.raises(VariantFailed, match="gone"):
        desk.run()
    assert desk.pairs == 1
    assert all(process.closed for process in desk.processes)


# ---- a cascade stops on its dollars --------------------------------------------------------------


ONE = WorkloadBlock(name="chat", requests=1, output_tokens=4)
TERMS = {"rule": "margin", "same_tokens": True, "edge_usd_per_hour": 0.036, "egress_usd_per_gb": 0.0}


def cascading(monkeypatch: Patch, variant_ms: Sequence[float], cloud_s: Sequence[float]) -> Desk:
    """A row whose every request takes the edge 0.2 s; the large model takes ``cloud_s`` in each pair's."""
    left = chain(cloud_s, repeat(cloud_s[-1]))

    def replies(process: Process, do: str) -> Reply | None:
        if process.side == "base" or do not in ("load", "duet"):
            return None
        found = getattr(desk, f"_{do}")(process, {"batches": [0, 1]})
        if do == "load":
            found["evidence"][1]["cascade"] = TERMS
        else:
            work = Cascaded(0.1, escalated=True, edge_s=0.2, cloud_s=next(left))
            found["cascaded"] = [asdict(work)] * 2
        return found

    desk = Desk(monkeypatch, (100,), variant_ms, replies=replies)
    return desk


def hour(threads: int | None) -> Price:
    """0.72 dollars an hour of four processors, of which two are used."""
    assert threads == 2
    return Price(0.72, devices=0.5)


@pytest.mark.parametrize(
    ("variant_ms", "cloud_s", "by_dollars", "by_time"),
    [((50, 80, 50, 80), (0.6,), 4, 12), ((50,), (0.6, 0.1, 0.6, 0.1), 12, 4)],
)
def test_a_cascade_has_enough_pairs_when_its_dollars_are_known(
    monkeypatch: Patch, variant_ms: Sequence[float], cloud_s: Sequence[float], by_dollars: int, by_time: int
) -> None:
    """What its table compares is the dollars of two prices, and not the time that both models took here."""
    for price, wanted in ((hour, by_dollars), (None, by_time)):
        desk = cascading(monkeypatch, variant_ms, cloud_s)
        desk.context = replace(desk.context, hour=price)
        assert desk.run().pairs == wanted


def test_the_dollars_of_a_pair_by_hand(monkeypatch: Patch) -> None:
    desk = cascading(monkeypatch, (50,), (0.6,))
    desk.context = replace(desk.context, hour=hour)
    row = VariantRun(desk.group, desk.open_worker(desk.group.variants[0], "", desk.context), desk.fetch)
    row.first()
    while not row.enough():
        row.further()
    ours, theirs = 2 * (0.2 * 1e-5 + 0.6 * 1e-4), 2 * 0.1 * 1e-4
    found, wanted = row.ratio(row.valid()), pair_ratio([ours] * 4, [theirs] * 4, SAME_KERNELS)
    assert astuple(found.interval) == pytest.approx(astuple(wanted.interval))


def test_a_base_that_is_a_cascade_keeps_what_it_did_too(monkeypatch: Patch) -> None:
    """In a gate each cascade is compared with itself."""
    work = {"base": Cascaded(0.9, escalated=False, edge_s=0.2), "variant": Cascaded(0.1, True, 0.2, 0.6)}

    def replies(process: Process, do: str) -> Reply | None:
        if do != "duet":
            return None
        return {**desk._duet(process, {"batches": [0]}), "cascaded": [asdict(work[process.side])]}

    desk = Desk(monkeypatch, replies=replies, processes=1, max_rounds=1, workload=ONE)
    (unit,) = units(desk.run())
    kept = [Cascaded(**one) for one in (*unit.baseline_cascaded, *unit.cascaded)]  # type: ignore[arg-type]
    assert kept == [work["base"], work["variant"]]
