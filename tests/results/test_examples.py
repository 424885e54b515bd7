"""Which replies are shown to a reader, and how they look side by side."""

from __future__ import annotations

from fakes import arm_record, run_record

from bench.records import ArmRecord, RunRecord, SuiteAnswers
from bench.report.side_by_side import NONE, render
from bench.results.examples import Example, examples
from bench.results.row import Row
from bench.results.summarise import summarise

TEXTS = (("Capital of France?", "It is Paris."), ("Two and two?", "Four."), ("Colour of snow?", "White."))


def run(*replies: str, **fields: object) -> RunRecord:
    theirs = tuple((prompt, reply) for (prompt, _), reply in zip(TEXTS, replies, strict=True))
    return run_record(arm_record(texts=TEXTS), arm_record("v", texts=theirs, **fields))


def shown(record: RunRecord, count: int = 3) -> list[tuple[str, str, int]]:
    return [(one.prompt, one.variant, one.same) for one in examples(record, record.arms[1], count)]


def test_the_reply_that_parts_first_comes_first() -> None:
    found = run("It is Rome.", "Four.", "Black.")
    assert shown(found) == [("Colour of snow?", "Black.", 0), ("Capital of France?", "It is Rome.", 6)]
    assert len(shown(found, 1)) == 1
    assert examples(found, found.arms[0]) == ()


def test_other_prompts_are_not_compared() -> None:
    assert shown(run("x", "y", "z", prompts_digest="other")) == []


def test_items_that_were_lost_are_shown_too() -> None:
    items = tuple({"id": f"s{n}", "lang": "any", "prompt": f"1 + {n} =", "number": 1 + n} for n in range(3))
    base = SuiteAnswers("d", replies=(" 1", " 2", " 3"), items=items)
    ours = SuiteAnswers("d", replies=(" 1", " 7", " 3"))
    record = run_record(arm_record(suites={"arithmetic": base}), arm_record("v", suites={"arithmetic": ours}))
    assert examples(record, record.arms[1]) == (Example("arithmetic", "1 + 1 =", " 2", " 7", 1),)


def test_they_are_kept_in_run_json_and_read_back() -> None:
    row = summarise(run("It is Rome.", "Four.", "Black.")).rows[1]
    assert [one.variant for one in row.examples] == ["Black.", "It is Rome."]
    assert Row.from_json(row.to_json()).examples == row.examples


def test_a_failed_row_shows_none() -> None:
    failed: ArmRecord = run("a", "b", "c").arms[1]
    record = run_record(arm_record(texts=TEXTS), arm_record("v", texts=failed.texts, status="oom_host"))
    assert summarise(record).rows[1].examples == ()


def test_side_by_side_the_first_difference_is_marked() -> None:
    found = render(
        [("v", [Example("reply", "Capital\nof France?", "It is Paris.", "It is Rome,\nin Italy.", 6)])]
    )
    assert found == (
        "v, 1: reply\n"
        "  prompt: Capital⏎of France?\n"
        "  baseline                                              variant\n"
        "  --------                                              -------\n"
        "  It is ▸Paris.                                         It is ▸Rome,⏎in Italy."
    )
    assert render([]) == NONE
