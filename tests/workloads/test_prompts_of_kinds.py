"""Prompts for engines in process: which text each request has, how long it is, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from bench.config.settings import WorkloadBlock
from bench.texts import english
from bench.workloads import Prompt, chat, file, fixed, reasoning


@pytest.mark.parametrize(
    ("kind", "texts"), [(chat, chat.QUESTIONS), (reasoning, reasoning.PROBLEMS)], ids=["chat", "reasoning"]
)
def test_questions_begin_again_after_the_last(kind: ModuleType, texts: tuple[str, ...]) -> None:
    assert len(set(texts)) == len(texts)
    count = len(texts) + 2
    prompts = kind.prompts(WorkloadBlock(requests=count))
    assert prompts == [Prompt(text, chat=True) for text in (*texts, *texts[:2])]


@pytest.mark.parametrize("kind", [chat, fixed, reasoning])
def test_they_read_no_file(kind: ModuleType) -> None:
    found = kind.problem(WorkloadBlock(input_tokens=5, output_tokens=5, file="x"))
    assert found == ("file", "is for the workload 'file'")


@pytest.mark.parametrize("kind", [chat, reasoning])
def test_questions_are_not_cut(kind: ModuleType) -> None:
    assert kind.problem(WorkloadBlock(output_tokens=5)) is None
    found = kind.problem(WorkloadBlock(output_tokens=5, input_tokens=5))
    assert found == ("input_tokens", "chat prompts are not cut; use the workload 'fixed'")


def test_where_a_long_answer_is_cut_must_be_said() -> None:
    key, said = reasoning.problem(WorkloadBlock()) or ("", "")
    assert key == "output_tokens"
    assert "it is where an answer is cut" in said


@pytest.mark.parametrize(
    ("marks", "key"),
    [
        ({}, None),
        ({"think_start": "<a>", "think_end": "</a>"}, None),
        ({"think_start": None, "think_end": None}, None),
        ({"think_start": "<a>"}, "think_end"),
        ({"think_end": "</a>"}, "think_start"),
        ({"think_start": "", "think_end": "</a>"}, "think_start"),
        ({"think_start": "<a>", "think_end": ""}, "think_end"),
    ],
)
def test_both_marks_of_reasoning_or_none(marks: dict[str, str], key: str | None) -> None:
    found = reasoning.problem(WorkloadBlock(output_tokens=5, own=tuple(marks.items())))
    assert (found and found[0]) == key


def test_slices_of_english_are_evenly_spread() -> None:
    """Eight characters for a token are enough for a tokenizer to cut; the last slice ends before the end."""
    assert fixed.problem(WorkloadBlock()) == ("input_tokens", "the workload 'fixed' needs input_tokens")
    text = english.read()
    prompts = fixed.prompts(WorkloadBlock(requests=4, input_tokens=100))
    room = len(text) - 800
    assert [prompt.text for prompt in prompts] == [
        text[start : start + 800] for start in (0, round(room / 4), round(room / 2), round(3 * room / 4))
    ]
    assert {(prompt.chat, prompt.tokens) for prompt in prompts} == {(False, 100)}


def test_a_prompt_longer_than_the_text_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(english, "read", lambda: "abc ")
    (prompt,) = fixed.prompts(WorkloadBlock(requests=1, input_tokens=3))
    assert prompt == Prompt("abc abc abc abc abc abc ", tokens=3)


def lines(path: Path, *rows: object) -> WorkloadBlock:
    path.write_text("\n".join(map(json.dumps, rows)))
    return WorkloadBlock(requests=2, file=str(path))


def test_the_first_lines_of_a_file_are_asked(tmp_path: Path) -> None:
    rows = [{"prompt": "one"}, {"prompt": "two", "chat": True}, {"prompt": "three", "chat": False}]
    workload = lines(tmp_path / "mine.jsonl", *rows)
    assert file.problem(workload) is None
    assert file.prompts(workload) == [Prompt("one"), Prompt("two", chat=True)]
    cut = workload.model_copy(update={"requests": 1, "input_tokens": 7})
    assert file.problem(cut) is None  # the chat prompt comes after the last request
    assert file.prompts(cut) == [Prompt("one", tokens=7)]
    assert file.problem(cut.model_copy(update={"requests": 2})) == (
        "input_tokens", f"{workload.file} has chat prompts, and these are not cut"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("text", 'needs {"prompt": "some text"}'),
        ({"prompt": " "}, 'needs {"prompt": "some text"}'),
        ({"prompt": 3}, 'needs {"prompt": "some text"}'),
        ({"prompt": "x", "chat": 1}, "chat must be true or false"),
        ({"prompt": "\ud800"}, "half of a letter"),
        ({"prompt": "x" * 21}, "over 20 characters"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: object, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "MAX_PROMPT_CHARACTERS", 20)
    workload = lines(tmp_path / "mine.jsonl", {"prompt": "x" * 20}, row)
    key, words = file.problem(workload) or ("", "")
    assert key == "file"
    assert f"{tmp_path / 'mine.jsonl'}:2" in words
    assert said in words


def test_keys_of_a_line_that_mean_nothing_are_noted(tmp_path: Path) -> None:
    """Their author may think that a reply is as long as ``max_tokens`` of its line."""
    path = tmp_path / "mine.jsonl"
    assert list(file.notes(lines(path, {"prompt": "one"}, {"prompt": "two", "chat": True}))) == []
    workload = lines(path, {"prompt": "one", "max_tokens": 9}, {"prompt": "two", "system\n": "Be brief."})
    assert file.problem(workload) is None
    said = f"{path}: a line has only prompt and chat; without a meaning here: max_tokens, system"
    assert list(file.notes(workload)) == [said]
    many = lines(path, {"prompt": "one", **dict.fromkeys("abcdefgh")}, {"prompt": "two"})
    assert [note.split("here: ")[1] for note in file.notes(many)] == ["a, b, c, d, e …"]


def test_a_file_with_too_few_lines_or_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    assert file.problem(WorkloadBlock()) == ("file", "the workload 'file' needs the path of a JSONL file")
    assert file.problem(lines(path, {"prompt": "one"}, {"prompt": "two"})) is None  # as many as are asked for
    few = file.problem(lines(path, {"prompt": "one"}))
    assert few == ("requests", f"2 requests asked for, and {path} holds 1 prompts")
    gone = file.problem(WorkloadBlock(file=str(tmp_path / "nothing")))
    assert gone is not None
    assert gone[0] == "file"
