"""Rows and pairs read from a journal: of attempts that were cut short, and from before there were pairs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from journals import HEAD

from bench.errors import IntegrityError
from bench.records import Facts, RunRecord, UnitRecord
from bench.store.replay import replay

START = {"kind": "run_started", "at_utc": "2026-11-27T12:00:00Z", **HEAD}
Record = Mapping[str, Any]


def arm(name: str, group: str = "", **fields: Any) -> Record:
    return {"kind": "arm", "at_utc": "2026-11-27T12:00:00Z", "group": group, "name": name, **fields}


def started(name: str, group: str = "") -> Record:
    return arm(name, group, started=True, is_baseline=name == "baseline")


def unit(number: int, variant: str = "v", group: str = "", **fields: Any) -> Record:
    return {
        "kind": "unit", "number": number, "group": group, "variant": variant, "batches": [0],
        "spawned_first": 1, "baseline_ns": [[4, 2]], "variant_ns": [[3, number]], "counters": None,
        "peaks": None, "cold": None, "void": "", "took_s": 1.0, "noise": {"stage": "unit"}, "from_run": "",
        **fields,
    }  # fmt: skip


def read(*records: Record) -> RunRecord:
    return replay([START, started("baseline"), *records])


def pairs_of(run: RunRecord, name: str = "v", group: str = "") -> list[int]:
    """The numbers of the pairs that count."""
    (row,) = [one for one in run.arms if (one.name, one.group) == (name, group)]
    return [one.number for one in run.valid_units_of(row)]


def test_units_are_read_as_they_were_written() -> None:
    (found,) = read(started("v"), unit(7)).units
    assert found == UnitRecord(7, "", "v", (0,), 1, ((4, 2),), ((3, 7),), took_s=1.0, noise={"stage": "unit"})


def test_pairs_of_an_attempt_that_was_cut_short_count_no_more() -> None:
    run = read(started("v"), unit(1), unit(2), started("v"), unit(1), unit(2), unit(3))
    assert pairs_of(run) == [1, 2, 3]
    assert len(run.units) == 3


def test_an_attempt_that_was_begun_again_and_cut_short_leaves_nothing() -> None:
    assert pairs_of(read(started("v"), unit(1), unit(2), started("v"))) == []


def test_only_the_row_that_begins_again_loses_its_pairs() -> None:
    run = read(
        started("v"), unit(1), started("w"), unit(1, "w"), started("v", "cell"), unit(1, "v", "cell"),
        started("v"), unit(1), unit(2),
    )  # fmt: skip
    assert pairs_of(run) == [1, 2]
    assert pairs_of(run, "w") == [1]
    assert pairs_of(run, "v", "cell") == [1]


def test_a_baseline_that_is_measured_again_leaves_its_variants_pairs() -> None:
    """The pairs have partners of their own."""
    assert pairs_of(read(started("v"), unit(1), started("baseline"))) == [1]


def test_units_that_a_gate_took_over_stay() -> None:
    run = read(unit(1, from_run="earlier"), started("v"), unit(2), started("v"), unit(2))
    assert pairs_of(run) == [1, 2]


def test_void_pairs_are_kept_and_do_not_count() -> None:
    run = read(started("v"), unit(1), unit(2, void="others had 20% of the processors"), unit(3))
    assert pairs_of(run) == [1, 3]
    assert len(run.units) == 3


def test_the_turns_of_an_old_journal_are_one_pair() -> None:
    """All rounds of a duet came from the same two processes, however many there were."""
    rounds = [
        [{"baseline_ns": [5, 2], "variant_ns": [5, 1]}, {"baseline_ns": [6, 2], "variant_ns": [6, 1]}],
        [{"baseline_ns": [7, 2], "variant_ns": [7, 1]}],
    ]
    run = read(started("v"), arm("v", duet=rounds[0]), arm("v", duet=rounds[1]))
    (found,) = run.units
    assert (found.number, found.group, found.variant) == (1, "", "v")
    assert found.batches == (0, 1, 2)
    assert found.baseline_ns == ((5, 2), (6, 2), (7, 2))
    assert found.variant_ns == ((5, 1), (6, 1), (7, 1))
    assert (found.void, found.noise, found.cold) == ("", {}, None)
    assert pairs_of(run) == [1]


def test_an_old_attempt_that_was_cut_short_is_no_pair() -> None:
    old = [{"baseline_ns": [5, 2], "variant_ns": [5, 1]}]
    new = [{"baseline_ns": [9, 9], "variant_ns": [8, 8]}]
    run = read(started("v"), arm("v", duet=old), started("v"), arm("v", duet=new))
    assert [one.variant_ns for one in run.units] == [((8, 8),)]
    assert read(started("v"), arm("v", duet=old), started("v")).units == ()


def test_a_journal_without_turns_has_no_pairs() -> None:
    assert read(started("v"), arm("v", status="unsupported")).units == ()


def test_a_unit_that_is_none_is_said_to_be() -> None:
    with pytest.raises(IntegrityError, match=r":4: batches: "):
        read(started("v"), unit(1, batches="all"))


# ---- what a row says of itself -------------------------------------------------------------------------


def loaded(**facts: Any) -> Record:
    known = {"device": "cpu", "dtype": "float32", "vocabulary": 49152, "random_weights": False, **facts}
    found = {
        "facts": known, "load_s": 1.5, "optimise_s": 0.25, "load_memory": {}, "weights_bytes": 4000,
        "bytes_by_dtype": {"float32": 4000}, "parameters": 1000, "evidence": [],
    }  # fmt: skip
    return arm("v", loaded=found)


@pytest.mark.parametrize("size", [46080, 46080.5, None])
def test_facts_are_read_as_they_were_written(size: float | None) -> None:
    """To the type: a whole number that became a float would be a difference to ``bench verify``."""
    found = read(started("v"), loaded(kv_bytes_per_token=size, threads=2)).arms[1].loaded
    assert found is not None
    assert found.facts == Facts("cpu", "float32", 49152, False, threads=2, kv_bytes_per_token=size)
    assert type(found.facts.kv_bytes_per_token) is type(size)


def test_facts_that_are_not_known_here_are_left_out() -> None:
    found = read(started("v"), loaded(colour="green")).arms[1].loaded
    assert found is not None
    assert found.facts == Facts("cpu", "float32", 49152, False)


@pytest.mark.parametrize(("facts", "place"), [({"device": None}, "device"), ({"threads": "two"}, "threads")])
def test_facts_that_are_none_are_said_to_be(facts: Mapping[str, Any], place: str) -> None:
    with pytest.raises(IntegrityError, match=rf"4: loaded\.facts\.{place}"):
        read(started("v"), loaded(**facts))


def test_probes_are_gathered_and_begin_afresh_with_the_row() -> None:
    records = [arm("v", probes={"a": {"x": 1.0}}), arm("v", probes={"b": {"y": None}})]
    assert read(started("v"), *records).arms[1].probes == {"a": {"x": 1.0}, "b": {"y": None}}
    assert read(started("v"), *records, started("v")).arms[1].probes == {}


def test_windows_keep_further_statistics() -> None:
    window = {"kld": [0.1], "same_top": [1], "ln_p_base": [-1.0], "ln_p_variant": [-2.0]}
    more = {**window, "more": {"jensen-shannon": [0.02]}}
    run = read(started("v"), arm("v", drift=[window]), arm("v", drift=[more]))
    assert [dict(one.more) for one in run.arms[1].drift] == [{}, {"jensen-shannon": (0.02,)}]


def test_many_attempts_and_many_probes_take_linear_time() -> None:
    """Each attempt went through all units, and each record of probes copied those before it: 15,000 of either
    took 20 s."""
    units = [unit(number) for number in range(1, 1901)]
    attempts = [started("w") for _ in range(15_000)]
    probes = [arm("v", probes={f"p{number}": {}}) for number in range(15_000)]
    began = time.process_time()
    run = read(started("v"), *units, *attempts, *probes)
    assert time.process_time() - began < 5
    assert len(pairs_of(run)) == 1900
    assert len(run.arms[1].probes) == 15_000


def test_later_probes_of_one_name_replace_earlier_ones() -> None:
    first = arm("v", probes={"a": {"x": 1.0}, "b": {"x": 2.0}})
    run = read(started("v"), first, arm("v", probes={"a": {"y": 3.0}}))
    assert run.arms[1].probes == {"a": {"y": 3.0}, "b": {"x": 2.0}}
    assert first["probes"] == {"a": {"x": 1.0}, "b": {"x": 2.0}}


@pytest.mark.parametrize("key", ["units", "windows"])
def test_more_than_any_run_measures(key: str) -> None:
    window = {"kld": [0.0], "same_top": [1], "ln_p_base": [-1.0], "ln_p_variant": [-1.0]}
    many = {
        "units": [unit(number) for number in range(1, 2002)],
        "windows": [arm("v", drift=[window] * 4001), arm("baseline", floor=[window] * 4000)],
    }
    with pytest.raises(IntegrityError, match=f"more than [0-9]+ {key} of"):
        read(started("v"), *many[key])
    assert read(started("v"), *many[key][:1])
