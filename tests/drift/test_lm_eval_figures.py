"""Figures of tasks of lm-eval, from what lm-eval said of each document: paired, by task, in one family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import arm_record, run_record
from journals import HEAD
from scipy import stats

from bench import plugins
from bench.drift.suites import lm_eval
from bench.records import Json, RunRecord, SuiteAnswers
from bench.report.behaviour import behaviour_words, suites_note
from bench.results.summarise import summarise
from bench.stats.ratio_verdict import Verdict

N = 100
ABOUT = {"harness": "lm-eval 0.4.13", "tasks": {"easy": {"version": 1.0}, "hard": {"version": 2.0}}}


def items(*tasks: str) -> tuple[Json, ...]:
    return tuple(
        {
            "id": f"{task}/{n}", "lang": "any", "group": task, "prompt": "?", "chance": 0.25,
            "metrics": ["acc", "acc_norm"],
        }
        for task in tasks for n in range(N)
    )  # fmt: skip


def answers(right: list[bool | None], kept: tuple[Json, ...] = ()) -> SuiteAnswers:
    judged = tuple(None if one is None else (float(one), 0.0) for one in right)
    return SuiteAnswers("d", items=kept, judged=judged, about=ABOUT)


def run_of(base: list[bool | None], ours: list[bool | None], *tasks: str) -> RunRecord:
    return run_record(
        arm_record(suites={"lm-eval": answers(base, items(*tasks))}),
        arm_record("v", suites={"lm-eval": answers(ours)}),
    )


LOST: list[bool | None] = [True] * 60 + [False] * 20 + [True] * 3 + [False] * 17  # 20 lost, 3 gained
BASE: list[bool | None] = [True] * 80 + [False] * 20


def figure(run: RunRecord, key: str) -> Any:
    return lm_eval.figures(run.arms[1], run)[key]


def test_documents_are_paired() -> None:
    run = run_of(BASE, LOST, "easy")
    change = figure(run, "lm_eval_change")
    assert (change.value, change.notes["lost"], change.notes["gained"]) == (pytest.approx(-0.17), 20, 3)
    assert change.notes["p"] == pytest.approx(stats.binomtest(3, 23).pvalue)
    assert change.notes["suite"] == "lm-eval easy"
    assert figure(run, "lm_eval_accuracy").value == pytest.approx(0.63)
    assert lm_eval.figures(run.arms[0], run)["lm_eval_change"] is None
    assert "lm_eval_easy_change" not in lm_eval.figures(run.arms[1], run), "it would be the same again"


def test_the_result_has_the_versions_and_the_share_of_every_metric() -> None:
    notes = figure(run_of(BASE, LOST, "easy"), "lm_eval_accuracy").notes
    assert notes["harness"] == "lm-eval 0.4.13"
    assert notes["tasks"] == {"easy": {"version": 1.0, "n": N, "shares": {"acc": 0.63, "acc_norm": 0.0}}}
    assert notes["chance"] == 0.25


def test_several_tasks_have_figures_of_their_own() -> None:
    run = run_of(BASE + BASE, LOST + BASE, "easy", "hard")
    assert figure(run, "lm_eval_easy_change").value == pytest.approx(-0.17)
    assert figure(run, "lm_eval_hard_change").value == 0
    assert figure(run, "lm_eval_change").value == pytest.approx(-0.085)
    assert figure(run, "lm_eval_change").notes["n"] == 2 * N


def test_all_tests_are_one_family_and_in_the_report() -> None:
    found = summarise(run_of(BASE + BASE, LOST + BASE, "easy", "hard"))
    tested = {one.suite: one.verdict for one in found.behaviour["", "v"]}
    assert tested == {
        "lm-eval, all tasks": Verdict.WORSE,
        "lm-eval easy": Verdict.WORSE,
        "lm-eval hard": Verdict.CANNOT_TELL,
    }
    words = behaviour_words(found, found.rows[1])
    assert "worse at lm-eval easy (63.0% right, the baseline 80.0%; 20 lost and 3 gained of 100)" in words
    assert "lm-eval hard" in suites_note(found)


def test_a_document_without_an_answer_on_one_side_is_left_out() -> None:
    change = figure(run_of([None, *BASE[1:]], [*LOST[:-1], None], "easy"), "lm_eval_change")
    assert change.notes["n"] == N - 2


def test_a_baseline_at_chance_has_nothing_to_lose() -> None:
    guess: list[bool | None] = [True] * 25 + [False] * 75
    assert figure(run_of(guess, guess, "easy"), "lm_eval_change").notes["at_chance"] is True


def test_answers_to_other_requests_are_not_compared() -> None:
    run = run_of(BASE, LOST, "easy")
    ours = replace(run.arms[1], suites={"lm-eval": replace(answers(LOST), digest="other")})
    run = replace(run, arms=(run.arms[0], ours))
    assert set(lm_eval.figures(ours, run).values()) == {None}


def test_every_report_has_the_tasks() -> None:
    head = {key: HEAD[key] for key in ("harness", "machine", "spec", "text", "price")}
    found = summarise(replace(run_of(BASE + BASE, LOST + BASE, "easy", "hard"), **head))
    for name, module in plugins.each("report.formats"):
        assert module.render([found]), name
    assert "lm_eval_hard_change" in str(found.to_json())
