"""Tokens of an answer up to its end, and those of them between the markers of reasoning."""

from __future__ import annotations

import pytest

from bench.records.thinking import Answer, Markers, counted

START, END, EOS = 8, 9, 1
ONE = Markers((START,), (END,))
LONG = Markers((8, 5, 6), (9, 7))  # as of gpt-oss: several tokens make a marker


@pytest.mark.parametrize(
    ("tokens", "opened", "reasoning"),
    [
        ([START, 3, 4, END, 5, EOS], False, 4),
        ([3, 4, END, 5, EOS], True, 3),  # the template began it
        ([3, 4, END, 5, EOS], False, 3),  # so it did, and nobody saw
        ([START, 3, 4, 5], False, 4),  # it never came to an answer
        ([3, 4, 5, 6], True, 4),
        ([3, 4, 5, EOS], False, 0),
        ([START, 3, END, 4, START, 3, 3, END, 5], False, 7),  # it thinks again
        ([START, END, 5, EOS], False, 2),
        ([], True, 0),
    ],
)
def test_the_reasoning_tokens(tokens: list[int], opened: bool, reasoning: int) -> None:
    found = counted(tokens, [EOS], ONE, opened=opened, whole=False)
    assert found == Answer(len(tokens), ended=EOS in tokens, reasoning=reasoning)


def test_what_follows_the_end_is_not_counted() -> None:
    found = counted([START, 3, END, 4, EOS, START, 3, 3], [EOS, 99], ONE, opened=False, whole=False)
    assert found == Answer(5, ended=True, reasoning=3)


def test_markers_of_several_tokens() -> None:
    found = counted([8, 5, 6, 3, 9, 3, 9, 7, 4, EOS], [EOS], LONG, opened=False, whole=False)
    assert found.reasoning == 8  # a half of a marker is none


def test_without_markers_nothing_is_known_of_reasoning() -> None:
    assert counted([3, 4], [EOS], None, opened=False, whole=True) == Answer(2, ended=True, reasoning=None)


@pytest.mark.parametrize(
    ("prompt", "is_open"), [([3, 8], True), ([8, 3, 9, 4], False), ([3], False), ([9, 8, 2], True)]
)
def test_a_prompt_that_begins_the_reasoning(prompt: list[int], is_open: bool) -> None:
    assert ONE.open_after(prompt) is is_open
