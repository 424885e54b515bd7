"""Replies of a real small model, against the model called directly."""

from __future__ import annotations

from typing import Any

import pytest
from engines import greedy

from bench.engine.decoding import until_ended
from bench.engine.evidence import Check
from bench.errors import Unsupported
from bench.worker import batches as together
from bench.worker import choices, external_logprobs, suite


def test_an_item_longer_than_the_context_has_no_answer(engine: Any) -> None:
    items = [{"prompt": "x" * 200, "choices": ["a", "b"]}, {"prompt": "x", "choices": ["a", "b"]}]
    assert [one is None for one in choices.scores(engine, items)] == [True, False]
    assert [one is None for one in suite.replies(engine, items, 8)] == [True, False]


def test_replies_are_greedy_and_in_the_order_of_the_items(engine: Any) -> None:
    prompts = ["one", "two", "three", "four", "six", "ten"]  # of three lengths
    found = suite.replies(engine, [{"prompt": prompt} for prompt in prompts], 6)
    assert found == [alone(engine, prompt, 6) for prompt in prompts]


def batches_of(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The lengths of the prompts of each pass from now on."""
    batches: list[list[int]] = []
    real = engine.prefill
    monkeypatch.setattr(
        engine, "prefill", lambda some, tokens: batches.append([*map(len, some)]) or real(some, tokens)
    )
    return batches


WORDS = [{"prompt": prompt} for prompt in ("one", "three", "two", "seventeen", "six")]


def test_prompts_of_similar_lengths_are_padded_where_that_was_checked(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "PADS", {engine: False})
    wanted = suite.replies(engine, WORDS, 6)
    assert wanted == [alone(engine, item["prompt"], 6) for item in WORDS]
    monkeypatch.setattr(together, "PADS", {})
    batches = batches_of(engine, monkeypatch)
    assert suite.replies(engine, WORDS, 6) == wanted
    assert together.PADS[engine]
    assert batches[-1] == [3, 3, 3, 5, 9]
    monkeypatch.setattr(together, "MOST_PADDED", 10)
    assert suite.replies(engine, WORDS, 6) == wanted
    assert batches[-3:] == [[3, 3, 3], [5], [9]]


def test_an_engine_that_reads_the_padding_replies_to_one_length_at_a_time(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "PADS", {})
    monkeypatch.setattr(engine, "as_batched", lambda: [Check("alone", "", "", holds=False)])
    batches = batches_of(engine, monkeypatch)
    suite.replies(engine, WORDS, 6)
    assert batches == [[3, 3, 3], [5], [9]]

    def refuses() -> list[Check]:
        raise Unsupported("cannot decode a padded batch")

    monkeypatch.setattr(together, "PADS", {})
    monkeypatch.setattr(engine, "as_batched", refuses)
    suite.replies(engine, WORDS, 6)
    assert batches[3:] == [[3, 3, 3], [5], [9]]


def test_an_engine_that_drafts_replies_to_one_prompt_at_a_time(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"prompt": prompt} for prompt in ("one", "two", "six", "three")]
    wanted = suite.replies(engine, items, 6)
    batches = batches_of(engine, monkeypatch)
    assert suite.replies(engine, items, 6) == wanted
    assert max(map(len, batches)) > 1
    del batches[:]
    monkeypatch.setattr(engine, "drafted", lambda _context, _most: 0)
    assert suite.replies(engine, items, 6) == wanted
    assert batches == [[3], [3], [3], [5]]


def alone(engine: Any, prompt: str, tokens: int) -> str:
    return greedy(engine, [*engine.begin_ids(), *engine.encode(prompt)], tokens)


def test_a_reply_beside_that_of_a_server(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends before an end token, and else is cut at its limit."""
    prompt = "What is that?"
    assert external_logprobs.written(engine, prompt, 6, chat=False) == {
        "text": alone(engine, prompt, 6),
        "cut": True,
    }
    ids = [*engine.begin_ids(), *engine.encode(prompt)]
    third = engine.tokens(until_ended(engine, [ids], 6))[0][2]
    monkeypatch.setattr(engine, "end_ids", lambda: (third,))
    found = external_logprobs.written(engine, prompt, 6, chat=False)
    assert found["cut"] is False
    assert alone(engine, prompt, 6).startswith(found["text"])
