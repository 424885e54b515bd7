"""A run against an earlier run: which figures are compared, and that nothing unmeasured is passed over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, run_record
from rich_rows import ITEMS, TERMS, loaded, rows, scores, solo, suite

from bench.gate.findings import Finding
from bench.records import ArmRecord, RunRecord, SuiteAnswers
from bench.results.changes import ALONE_APART_SD
from bench.results.stored_gate import GONE, NOT_FINISHED, NOT_IN_BOTH, OTHER_ITEMS, against_run, judge_run
from bench.results.suites_between import suites_between
from bench.results.summarise import summarise
from bench.stats.figure import ratio_bounds
from bench.stats.intervals import NORMAL_95
from bench.stats.proportions import paired_difference

ACCURACY: Any = {"factuality_accuracy": {"max_decrease": "20%"}}
Runs = tuple[RunRecord, RunRecord]
Change = Callable[[ArmRecord], ArmRecord]


def a_run(right: int, limits: Any, change: Change = lambda arm: arm) -> RunRecord:
    """A baseline that has all answers right but one, and a row that has the first ``right`` right."""
    base = arm_record(solo=solo(2.0), loaded=loaded(), suites=suite(ITEMS - 1, items=True))
    row = change(arm_record("v", solo=solo(1.0), loaded=loaded(), suites=suite(right)))
    spec = {"gate": limits, "drift": {"suites": ["factuality"]}}
    return replace(run_record(base, row), spec=spec, text={"sha256": "01"})


def judged(before: RunRecord, after: RunRecord, **options: bool) -> dict[str, Finding]:
    """The findings by row."""
    suites = suites_between(before, after)
    gate = against_run(summarise(after), summarise(before), suites, **options).gate
    assert gate is not None
    return {one.variant: one for one in gate.rules}


@pytest.mark.parametrize(("right", "verdict"), [(0, "PASS"), (ITEMS // 2, "FAIL")])
def test_an_accuracy_is_judged_by_the_pairs_of_its_items(right: int, verdict: str) -> None:
    """Both runs asked the same items, so only those count that one run has right and the other wrong."""
    before, after = a_run(ITEMS - 1, ACCURACY), a_run(ITEMS - 1 - right, ACCURACY)
    found = judged(before, after)
    assert found["baseline"].verdict == "PASS"
    assert found["v"].verdict == verdict
    paired = paired_difference(ITEMS - 1 - right, right, 0, 1)
    change = suites_between(before, after)["", "v"]["factuality_change"]
    assert change is not None
    assert (change.value, change.notes["lost"], change.notes["gained"]) == (-right / ITEMS, right, 0)
    assert change.ci_low == pytest.approx(paired.low)
    assert found["v"].value == pytest.approx((ITEMS - 1 - right) / (ITEMS - 1))


def test_answers_to_other_items_are_not_compared() -> None:
    """More questions, or other ones, are not a change of the model."""

    def other(name: str, answers: SuiteAnswers) -> dict[str, SuiteAnswers]:
        return {name: replace(answers, digest="cd" * 32)}

    after = a_run(ITEMS - 1, ACCURACY)
    arms = tuple(replace(arm, suites=other(*next(iter(arm.suites.items())))) for arm in after.arms)
    found = judged(a_run(ITEMS - 1, ACCURACY), replace(after, arms=arms))
    assert {(one.verdict, one.reason) for one in found.values()} == {("ERROR", OTHER_ITEMS)}


def with_answers(**other: Any) -> Change:
    """A row with something else in its answers."""
    return lambda arm: replace(arm, suites={"factuality": replace(arm.suites["factuality"], **other)})


@pytest.mark.parametrize("side", [0, 1])
def test_answers_to_some_of_the_items_are_not_compared(side: int) -> None:
    """A shorter context leaves the long items out, and they may be the ones that were lost."""
    right = 20
    fewer = with_answers(scores=(*scores(right)[:right], *[None] * (ITEMS - right)))
    runs = [a_run(right, ACCURACY, fewer if side == number else lambda arm: arm) for number in (0, 1)]
    found = judged(*runs)["v"]
    assert (found.verdict, found.reason) == ("ERROR", OTHER_ITEMS)


def test_a_ratio_of_accuracies_is_about_the_items_that_both_answered() -> None:
    """The row answered the ten items that its baseline has wrong, too: nothing changed."""
    wrong = with_answers(scores=(*[None] * 20, *scores(20)[20:]))
    found = a_run(20, ACCURACY, wrong)
    base = replace(found.arms[0], suites=suite(20, items=True))
    gate = judge_run(summarise(replace(found, arms=(base, *found.arms[1:])))).gate
    assert gate is not None
    (rule,) = gate.rules
    assert rule.low is not None
    assert rule.low < 1.0
    assert rule.value == 1.0


@pytest.mark.parametrize("number", [ITEMS, ITEMS - 1])
def test_other_items_under_the_digest_of_these_are_not_compared(number: int) -> None:
    """Who owns a journal can write any digest into it."""
    after = a_run(ITEMS - 1, ACCURACY)
    forged = []
    for arm in after.arms:
        answers = arm.suites["factuality"]
        items = tuple({**item, "prompt": "another"} for item in answers.items[:number])
        forged.append(with_answers(items=items, scores=answers.scores[:number])(arm))
    found = judged(a_run(ITEMS - 1, ACCURACY), replace(after, arms=tuple(forged)))
    assert {(one.verdict, one.reason) for one in found.values()} == {("ERROR", OTHER_ITEMS)}


def test_another_version_of_a_task_is_not_compared() -> None:
    versions = [with_answers(about={"harness": "0.4", "tasks": {"arc": {"version": n}}}) for n in (1, 2)]
    before, after = (a_run(20, ACCURACY, version) for version in versions)
    assert judged(before, before)["v"].verdict == "PASS"
    assert (judged(before, after)["v"].verdict, judged(before, after)["v"].reason) == ("ERROR", OTHER_ITEMS)


def test_items_that_trained_the_earlier_cascade_are_not_judged() -> None:
    def trained(count: int) -> RunRecord:
        arms = rows()
        (form,) = TERMS["learnt"]
        learnt = {**TERMS, "learnt": [{**form, "ids": [f"f{number}" for number in range(count)]}]}
        step = {"step": "cascade: learnt", "checks": [], "cascade": learnt}
        found = replace(arms[-1], loaded=replace(loaded(), evidence=(step,)))
        return run_record(*arms[:-1], found)

    for before, after in ((trained(10), trained(1)), (trained(1), trained(10))):
        change = suites_between(before, after)["", "cascade"]["factuality_change"]
        assert change is not None
        assert change.notes["n"] == ITEMS - 10


def test_a_suite_that_one_run_did_not_ask() -> None:
    found = judged(a_run(5, ACCURACY, lambda arm: replace(arm, suites={})), a_run(5, ACCURACY))
    assert (found["v"].verdict, found["v"].reason) == ("ERROR", NOT_IN_BOTH)


def test_a_row_that_only_the_earlier_run_has_is_not_passed_over() -> None:
    before, after = a_run(5, ACCURACY), a_run(5, ACCURACY)
    after = replace(after, arms=after.arms[:1])
    found = judged(before, after)
    assert (found["v"].verdict, found["v"].reason) == ("UNREACHED", GONE)
    assert found["baseline"].verdict == "PASS"
    assert list(judged(before, after, chosen=True)) == ["baseline"]


def test_a_row_that_only_this_run_has_is_an_error() -> None:
    before, after = a_run(5, ACCURACY), a_run(5, ACCURACY)
    found = judged(replace(before, arms=before.arms[:1]), after)
    assert (found["v"].verdict, found["v"].reason) == ("ERROR", "the earlier run has no such row")


@pytest.mark.parametrize(("side", "where"), [(0, "in the earlier run"), (1, "in this run")])
def test_a_row_that_failed_says_so(side: int, where: str) -> None:
    def fail(arm: ArmRecord) -> ArmRecord:
        return replace(arm, status="oom_host", reason="killed by the kernel")

    runs = [a_run(5, ACCURACY, fail if side == number else lambda arm: arm) for number in (0, 1)]
    found = judged(*runs)["v"]
    assert found.verdict == "ERROR"
    assert found.reason == f"v was not measured {where}: oom_host: killed by the kernel"


def test_a_count_is_compared_and_a_time_has_the_difference_between_sessions() -> None:
    limits: Any = {"weights_bytes": {"max_increase": "0%"}, "itl_ms": {"max_increase": "90%"}}
    before, after = a_run(5, limits), a_run(5, limits)
    gate = against_run(summarise(after), summarise(before)).gate
    assert gate is not None
    by_rule = {one.rule.split()[0]: one for one in gate.rules if one.variant == "v"}
    time = by_rule["itl_ms"]
    figure = next(row for row in summarise(after).rows if row.name == "v").figure("itl_ms")
    low, high = ratio_bounds(figure, figure, NORMAL_95 * ALONE_APART_SD)
    assert time.value == 1.0
    assert time.low is not None
    assert time.high is not None
    assert time.low <= (low or 0) < math.exp(-NORMAL_95 * ALONE_APART_SD / 2)
    assert time.high >= (high or math.inf)
    assert (by_rule["weights_bytes"].verdict, by_rule["weights_bytes"].value) == ("PASS", 1.0)


def test_a_run_that_was_cut_short_between_two_rows_does_not_pass() -> None:
    """It has no trace of the rows that it never came to, so all that it has may hold."""
    whole = a_run(ITEMS - 1, {"weights_bytes": {"max_increase": "0%"}})
    assert judge_run(summarise(whole)).gate.verdict == "PASS"  # type: ignore[union-attr]
    cut = replace(whole, finished_utc=None)
    for gate in (judge_run(summarise(cut)).gate, against_run(summarise(cut), summarise(whole)).gate):
        assert gate is not None
        assert gate.verdict == "ERROR"
        assert [one.reason for one in gate.rules if one.verdict != "PASS"] == [NOT_FINISHED]
