"""What a journal may say of lm-eval's judgement, which anybody may have edited."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import IntegrityError
from bench.store.schema import check_record
from bench.store.suite_blocks import MOST_TASKS

ITEM = {"id": "a/0", "lang": "any", "prompt": "?", "group": "a", "metrics": ["acc"], "chance": 0.5}
ABOUT = {"harness": "lm-eval 0.4.13", "tasks": {"a": {"version": 1.0, "n_shot": 0}}}


def record(item: dict[str, Any] = ITEM, **changed: Any) -> dict[str, Any]:
    answers = {"digest": "0" * 64, "judged": [[1.0]], "items": [item], "about": ABOUT, **changed}
    return {"kind": "arm", "name": "v", "group": "", "suites": {"lm-eval": answers}}


@pytest.mark.parametrize("judged", [[[1.0]], [None], [[0.0, 1.0]], []])
def test_a_judgement_is_read(judged: list[Any]) -> None:
    check_record(1, record(judged=judged), "journal")


@pytest.mark.parametrize(
    ("edited", "words"),
    [
        (record(judged=[["right"]]), "judged"),
        (record(judged=[[]]), "at least 1 item"),
        (record(judged=[[-1.0]]), "greater than or equal to 0"),
        (record({key: value for key, value in ITEM.items() if key != "group"}), "should have a group"),
        (record({**ITEM, "metrics": []}), "should have a group and metrics"),
        (record({**ITEM, "chance": "half"}), "chance"),
        (record(about={"tasks": {"a": 3}}), "about.tasks.a"),
        (record(items=[{**ITEM, "group": f"g{n}"} for n in range(MOST_TASKS + 1)]), "at most 300 tasks"),
    ],
)
def test_an_edited_judgement_is_refused(edited: dict[str, Any], words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        check_record(1, edited, "journal")


READ = {"format": "float16", "looked": 9, "reach": 1.0, "layers": {"a": 3}}


def activations(**changed: Any) -> dict[str, Any]:
    both = [{"baseline": None, "variant": {**READ, **changed}}]
    return {"kind": "arm", "name": "v", "group": "", "activations": both}


def test_what_layers_read_is_read() -> None:
    check_record(1, activations(), "journal")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"layers": {"a": 8, "b": 2}}, "more at the end of the format than were looked at"),
        ({"layers": {"a": -1}}, "layers.a"), ({"layers": {"a\nb": 1}}, "layers"), ({"reach": 1.5}, "reach"),
        ({"looked": "9"}, "looked"), ({"format": "two\nlines"}, "format"),
    ],
)  # fmt: skip
def test_edited_activations_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        check_record(1, activations(**changed), "journal")
