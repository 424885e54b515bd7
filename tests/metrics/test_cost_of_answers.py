"""The cost of an answer with its reasoning, and the guard: thinking longer is not cheaper."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fakes import arm_record, pairs, run_record, timed_batch

from bench.metrics import answers, cost
from bench.records import Answer, ArmRecord, RunRecord
from bench.report import behaviour
from bench.report.row_sentence import sentence
from bench.report.table_columns import columns_of
from bench.results.headline import by_answer, headline
from bench.results.run_summary import RunSummary
from bench.results.summarise import summarise
from bench.stats.figure import value_of
from bench.stats.ratio_verdict import Verdict

LIMIT, REQUESTS = 40, 6
LOAD = {"name": "reasoning", "requests": REQUESTS, "output_tokens": LIMIT, "batch_size": 1}


def decoded(step_ms: float, lengths: list[int], thoughts: int | None, **fields: object) -> ArmRecord:
    """A row whose requests take ``LIMIT`` equal steps, with answers of these lengths; LIMIT + 1 is cut."""
    stamps = [step_ms * number for number in range(1, LIMIT + 1)]
    solo = [timed_batch(0, stamps, stamps[-1], [10], [[3] * LIMIT]) for _ in lengths]
    apart = [
        replace(one, sent_ns=one.sent_ns + shift, end_ns=one.end_ns + shift,
                stamps_ns=tuple(stamp + shift for stamp in one.stamps_ns))
        for number, one in enumerate(solo)
        for shift in [number * solo[0].end_ns]
    ]  # fmt: skip
    found = tuple(Answer(min(n, LIMIT), ended=n <= LIMIT, reasoning=thoughts) for n in lengths)
    known = {"solo": tuple(apart), "answers": found, "workload": LOAD, **fields}
    return arm_record(**known)  # type: ignore[arg-type]


def beside(
    step_ms: float, length: int, thoughts: int | None = 8, lengths: list[int] | None = None, **fields: object
) -> RunRecord:
    """A baseline with steps of 10 ms and answers of 10 tokens, and a variant."""
    base = decoded(10.0, [10] * REQUESTS, 8, **fields)
    variant = decoded(step_ms, lengths or [length] * REQUESTS, thoughts, name="v", **fields)
    ours, theirs = [[round(1e7)] * LIMIT], [[round(step_ms * 1e6)] * LIMIT]
    return run_record(base, variant, units=pairs(*[(ours, theirs)] * 4))


def of(run: RunSummary) -> str:
    return sentence(run, run.rows[1])


def test_the_cost_of_an_answer_by_hand() -> None:
    run = beside(9.0, 13)
    arm = run.arms[0]
    per_request = cost.figures(arm, run)["cost_per_request_usd"]
    found = answers.figures(arm, run)
    assert per_request is not None
    # 10 of 40 steps of 10 ms: a quarter of the time of a whole request.
    assert value_of(found["cost_per_answer_usd"]) == pytest.approx(per_request.value / 4)
    assert value_of(found["answer_tokens"]) == 10
    assert value_of(found["reasoning_tokens"]) == 8
    assert "/ 6 * 0.6 / 2.4" in answers.worked(arm, run)["cost_per_answer_usd"]


@pytest.mark.fault(23)
def test_cheaper_tokens_and_longer_thoughts_are_no_cheaper_answer() -> None:
    run = summarise(beside(9.0, 13, thoughts=11))
    row = run.rows[1]
    per_token = run.comparison(row, cost.PER_1K)
    found = headline(run, row)
    assert per_token is not None
    assert found is not None
    assert per_token.verdict == Verdict.BETTER
    assert found.metric == "cost_per_answer_usd"
    assert found.verdict == Verdict.WORSE
    assert found.ratio == pytest.approx(0.9 * 1.3)
    assert of(run).startswith(
        "17% more expensive an answer; it thinks 1.38 × as long and its answers are 1.30 × as long (0.90 × "
        "the cost a token)"
    )
    cells = {column.key: column.cell(run, row) for column in columns_of(run)}
    assert cells["verdict"] == "worse"
    assert cells["ratio"].startswith("1.170")
    assert cells["answer"] == "13 (11)"
    assert not run.on_front(row)
    assert run.to_json()["comparisons"]
    assert row.to_json()["metrics"]["answer_tokens"]["value"] == 13


@pytest.mark.parametrize(("tokens", "red"), [(10, True), (13, False)])
def test_a_sentence_is_red_by_the_ratio_that_it_says(
    monkeypatch: pytest.MonkeyPatch, tokens: int, red: bool
) -> None:
    """With 13 tokens an answer costs more, though a token costs less: nothing is bought with the drift."""
    monkeypatch.setattr(behaviour, "a_different_model", lambda _row: True)
    run = summarise(beside(9.0, tokens))
    assert ("cheaper" in of(run)) == red
    assert behaviour.spoiled(run, run.rows[1]) == red


def test_the_guard_holds_in_every_workload_in_which_the_ends_are_seen() -> None:
    chat = {**LOAD, "name": "chat"}
    run = summarise(beside(9.0, 13, workload=chat))
    assert "an answer; its answers are 1.30 × as long" in of(run)
    same = summarise(beside(9.0, 10, workload=chat))
    assert not by_answer(same, same.rows[1])
    assert of(same).startswith("10% cheaper")
    assert "answer" not in {column.key for column in columns_of(same)}


def test_shorter_answers_are_said_too() -> None:
    said = of(summarise(beside(10.0, 5)))
    assert said.startswith("2.0 × cheaper an answer; its answers are 0.50 × as long")


def test_lengths_that_differ_from_prompt_to_prompt_widen_the_interval() -> None:
    even = headline(*_row(beside(9.0, 13)))
    uneven = headline(*_row(beside(9.0, 0, lengths=[4, 22, 5, 21, 6, 20])))
    assert even is not None
    assert uneven is not None
    assert even.ci_high is not None
    assert uneven.ci_high is not None
    assert uneven.ratio == pytest.approx(even.ratio)
    assert math.log(uneven.ci_high / uneven.ratio) > 5 * math.log(even.ci_high / even.ratio)
    assert uneven.verdict == Verdict.CANNOT_TELL


def _row(run: RunRecord) -> tuple[RunSummary, object]:
    found = summarise(run)
    return found, found.rows[1]  # type: ignore[return-value]


def test_a_share_of_cut_answers_is_said() -> None:
    run = summarise(beside(9.0, 0, lengths=[10, 10, 10, 10, LIMIT + 1, LIMIT + 1]))
    assert "33% of its answers were cut at 40 tokens" in of(run)
    cells = {column.key: column.cell(run, run.rows[1]) for column in columns_of(run)}
    assert cells["answer"].startswith("≥ 20")


def test_answers_without_an_end_have_no_price() -> None:
    run = summarise(beside(9.0, LIMIT + 1))
    row = run.rows[1]
    assert row.metrics["cost_per_answer_usd"] is None
    assert "most answers have no end within output_tokens (40): raise it" in of(run)
    assert run.comparison(row, answers.PER_ANSWER) is None


def test_other_prompts_are_not_compared() -> None:
    run = beside(9.0, 13)
    other = replace(run, arms=(run.arms[0], replace(run.arms[1], prompts_digest="q")))
    assert answers.share_ratio(other.arms[1], other) is None


def test_runs_from_before_there_were_answers_have_none() -> None:
    arm = decoded(10.0, [10] * REQUESTS, None)
    bare = replace(arm, answers=None)
    assert answers.figures(bare, run_record(bare)) == answers.worked(bare, run_record(bare)) == {}


def test_a_batch_lasts_until_its_last_answer() -> None:
    solo = (timed_batch(0, [10, 20, 30, 40], 40, [3, 3], [[3] * 4, [3] * 4]),)
    arm = arm_record(solo=solo, answers=(Answer(1, ended=True), Answer(3, ended=True)))
    assert answers.seconds(arm) == pytest.approx(0.03)
