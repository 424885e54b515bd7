"""Whether what differs between two commits was part of what was measured; if not, there is no PASS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, run_record, unit

from bench.gate.change_impact import files, reached
from bench.gate.findings import GateVerdict
from bench.gate.judge import judge, undecided
from bench.pricing.reprice import price_block
from bench.records import ArmRecord, Counted, RunRecord

LIMITS = {"cost_per_request_usd": {"max_increase": "5%"}}
FILES = {"source:a.py": "1", "packages:dep.py": "2"}
NOTHING: dict[str, Any] = {"config": [], "packages": [], "files": []}


def sides(
    base: dict[str, Any] | None = None, candidate: dict[str, Any] | None = None
) -> tuple[ArmRecord, ArmRecord]:
    known: dict[str, Any] = {
        "group": "r", "reached": FILES, "prompts_digest": "p", "model": {"weights_sha256": "w"},
        "runtime": {"name": "callable", "python": "/base/python"},
        "workload": {"requests": 4, "file": "/base/x"},
    }  # fmt: skip
    theirs = {"name": "callable", "python": "/candidate/python"}
    ours = {**known, "runtime": theirs, **(candidate or {})}
    ours["workload"] = {**ours["workload"], "file": "/candidate/x"}
    base_row = arm_record("base", **{**known, "is_baseline": True, **(base or {})})
    return base_row, arm_record("candidate", **{**ours, "is_baseline": False})


def run(
    *arms: ArmRecord, differences: dict[str, Any] | None = None, units: int = 7, **head: Any
) -> RunRecord:
    gate = {
        "mode": "commits", "limits": LIMITS, "test": {"cap": 40},
        "differences": {**NOTHING, "files": ["a.py"], **(differences or {})}, **head,
    }  # fmt: skip
    samples = tuple(
        unit([[10, 10]], [[10, 10]], number=n, variant="candidate", group=arms[0].group if arms else "r")
        for n in range(1, units + 1)
    )
    return replace(run_record(*arms, units=samples), gate=gate)


def verdict(record: RunRecord) -> GateVerdict:
    found = judge(record, {(arm.group, arm.name): {} for arm in record.arms})
    assert found is not None
    return found.verdict


def test_a_change_that_was_read_is_judged_by_its_times() -> None:
    arms = sides(candidate={"reached": {**FILES, "source:a.py": "9"}})
    assert reached(run(*arms), *arms)
    assert verdict(run(*arms)) == GateVerdict.PASS


def test_a_change_that_nobody_read_is_no_pass() -> None:
    record = run(*sides())
    assert verdict(record) == GateVerdict.UNREACHED
    assert undecided(record) == set(), "further units would say nothing"
    found = judge(record, {})
    assert found is not None
    assert (found.exit_code, found.rules[0].value) == (8, None)


def test_where_the_user_allows_it_such_a_change_is_identical() -> None:
    record = run(*sides(), allow_identical=True)
    found = judge(record, {})
    assert found is not None
    assert (found.verdict, found.exit_code) == (GateVerdict.IDENTICAL, 0)


@pytest.mark.parametrize(
    "candidate",
    [
        {"reached": {"source:a.py": "1"}},
        {"reached": {**FILES, "source:new.py": "3"}},
        {"prompts_digest": "other"},
        {"model": {"weights_sha256": "other"}},
        {"workload": {"requests": 8, "file": ""}},
        {"optimise": ("prune magnitude",)},
        {"runtime": {"name": "callable", "target": "other:f"}},
        {"reached": {"*": ""}},
    ],
)
def test_each_way_in_which_a_change_reaches_the_measurement(candidate: dict[str, Any]) -> None:
    arms = sides(candidate=candidate)
    assert reached(run(*arms), *arms)


def test_paths_of_the_two_checkouts_are_no_difference() -> None:
    arms = sides()
    assert not reached(run(*arms), *arms)


def test_a_program_may_read_everything_but_not_what_does_not_differ() -> None:
    arms = sides({"reached": {"*": ""}}, {"reached": {"*": ""}})
    assert reached(run(*arms), *arms)
    same = run(*arms, differences={"files": []})
    assert not reached(same, *arms)


def test_a_price_counts_where_the_sides_have_different_ones_and_a_limit_is_on_a_cost() -> None:
    """A new price in the config alone does not: where the base's counts, nobody has measured the new one."""
    change = {"what": "price.usd_per_hour", "base": "1.0", "candidate": "2.0"}
    one, other = (price_block(None, usd, 1.0, "2026-01-01") for usd in (1.0, 2.0))
    arms = sides()
    record = replace(run(*arms, differences={"config": [change]}), price=other)
    assert not reached(record, *arms)
    assert verdict(record) == GateVerdict.UNREACHED
    for base_price, limits, counts in (
        (one, LIMITS, True),
        ({**other, "source": "another text"}, LIMITS, False),
        (one, {"e2el_ms": {"max_increase": "5%"}}, False),
    ):
        head = {**(record.gate or {}), "base_price": base_price, "limits": limits}
        assert reached(replace(record, gate=head), *arms) is counts


def test_prompts_of_a_server_count_by_their_file() -> None:
    """A server that is there already has no digest of its prompts in the row."""
    changed = {"row": "r", "what": "workload.file", "base": "1", "candidate": "2"}
    for digest, counts in (("p", False), (None, True)):
        arms = sides({"prompts_digest": digest}, {"prompts_digest": digest})
        assert reached(run(*arms, differences={"inputs": [changed]}), *arms) is counts


@pytest.mark.bad_input(41)
def test_the_same_commit_twice_is_not_measured_at_all() -> None:
    record = run(differences={"files": []}, units=0)
    assert verdict(record) == GateVerdict.UNREACHED
    assert (
        verdict(replace(record, gate={**(record.gate or {}), "allow_identical": True}))
        == GateVerdict.IDENTICAL
    )


def test_if_one_row_is_reached_all_are_judged_by_their_times() -> None:
    """Not all that a process reads is seen: a file opened in C is not."""
    first = sides(candidate={"reached": {**FILES, "source:a.py": "9"}})
    second = tuple(replace(arm, group="s") for arm in sides())
    record = run(*first, *second)
    record = replace(record, units=(*record.units, *(replace(one, group="s") for one in record.units)))
    found = judge(record, {})
    assert found is not None
    assert [rule.verdict for rule in found.rules] == [GateVerdict.PASS, GateVerdict.PASS]


@pytest.mark.fault(31)
def test_a_row_that_is_gone_is_no_pass() -> None:
    record = run(*sides(candidate={"reached": {**FILES, "source:a.py": "9"}}), gone=["big"])
    found = judge(record, {})
    assert found is not None
    assert [(rule.title, rule.verdict) for rule in found.rules] == [
        ("big candidate", GateVerdict.UNREACHED), ("r candidate", GateVerdict.PASS),
    ]  # fmt: skip
    assert found.exit_code == 8


def test_answers_of_varying_length_are_not_counted_once_for_all() -> None:
    """A sampled answer is longer now and shorter then: one count of each side would fail by chance."""
    counted = {"reached": {**FILES, "source:a.py": "9"}, "counters": Counted(1, 5, 30, None, None, None)}
    arms = sides({"counters": Counted(1, 5, 20, None, None, None)}, counted)
    steps = run(*arms)
    assert verdict(steps) == GateVerdict.FAIL, "where every token is decoded, a token more is more work"
    whole = tuple(replace(one, baseline_ns=((20,),), variant_ns=((20,),)) for one in steps.units)
    assert verdict(replace(steps, units=whole)) == GateVerdict.PASS


def test_a_side_that_failed_is_an_error_whatever_it_had_read() -> None:
    arms = sides(candidate={"status": "import_error", "reason": "no mypkg", "reached": {}})
    assert verdict(run(*arms)) == GateVerdict.ERROR


def test_the_files_that_differ_are_named_without_their_root() -> None:
    assert files(FILES, {**FILES, "source:a.py": "9", "packages:new/x.py": "1"}) == ["new/x.py", "a.py"]
