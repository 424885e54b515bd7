"""Tokens that have no text: reasoning that is not sent, and the token that ends a reply."""

from __future__ import annotations

import json

import pytest

from bench.records.samples import Sample
from bench.serving.reply import Asked, Reply, Trip

MS = 1_000_000
WORDS = [{"delta": {"content": "w"}}] * 4
STOP = {"delta": {}, "finish_reason": "stop"}


def sample(choices: list[dict], usage: dict | None, *, most: int = 64, each: dict | None = None) -> Sample:
    """A request whose events come every 10 ms from 100 ms on; the usage comes with the last one."""
    reply = Reply()
    reply.begins(200, {"content-type": "text/event-stream"})
    for number, choice in enumerate(choices):
        event = {"choices": [{"index": 0, **choice}], **(each or {})}
        reply.receives((100 + 10 * number) * MS, f"data: {json.dumps(event)}\n\n".encode())
    last = (100 + 10 * len(choices)) * MS
    reply.receives(last, f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
    reply.ends(last)
    trip = Trip(0, Asked("p", 1, most), None, 0)
    trip.reply = reply
    trip.finish()
    return trip.sample(None)


def used(out: int, reasoned: int | None = None) -> dict:
    details = {} if reasoned is None else {"completion_tokens_details": {"reasoning_tokens": reasoned}}
    return {"prompt_tokens": 1, "completion_tokens": out, **details}


def test_reasoning_that_is_not_sent_makes_no_token_faster() -> None:
    """34 tokens are billed, and the four that are sent come every 10 ms."""
    one = sample([*WORDS, {"delta": {}, "finish_reason": "length"}], used(34, 30))
    assert (one.tokens, one.n_out, one.verified, one.doubt) == ((31, 1, 1, 1), 34, True, "")
    assert (one.tpot_ms, one.itl_ms()) == (pytest.approx(10), [10, 10, 10])


def test_reasoning_that_is_sent_has_events_of_its_own() -> None:
    one = sample([{"delta": {"reasoning_content": "t"}}] * 3 + WORDS, used(7, 3))
    assert (one.tokens, one.thoughts, one.verified) == ((1,) * 7, 3, True)


@pytest.mark.parametrize(("out", "reasoned"), [(34, 34), (34, 40), (100, 96)])
def test_a_usage_that_cannot_be_is_unverified(out: int, reasoned: int) -> None:
    """Reasoning alone, more of it than of all, and more tokens than were asked for."""
    one = sample([*WORDS, {"delta": {}, "finish_reason": "length"}], used(out, reasoned))
    assert not one.verified


def test_the_token_that_ends_a_reply_came_with_its_reason() -> None:
    """vLLM and llama.cpp count it, and send no text for it."""
    one = sample([*WORDS, STOP], used(5))
    assert (one.tokens, one.verified, one.doubt) == ((1,) * 5, True, "")
    assert one.events_ns[-1] == 140 * MS
    assert one.tpot_ms == pytest.approx(10)


def test_both_at_once() -> None:
    one = sample([*WORDS, STOP], used(35, 30))
    assert (one.tokens, one.verified, one.tpot_ms) == ((31, 1, 1, 1, 1), True, pytest.approx(10))


@pytest.mark.parametrize(
    ("choices", "usage"),
    [
        ([*WORDS, STOP], used(4)),  # it does not count that token
        ([*WORDS, {"delta": {}, "finish_reason": "length"}], used(5)),  # no such token ended it
        ([*WORDS, STOP], used(6)),
        ([*WORDS, STOP], None),
    ],
)
def test_an_event_without_text_is_else_no_token(choices: list[dict], usage: dict | None) -> None:
    assert len(sample(choices, usage).events_ns) == 4


def test_reasoning_alone_has_no_time_to_an_answer() -> None:
    one = sample([{"delta": {"reasoning_content": "t"}}] * 3 + [STOP], used(4))
    assert (one.tokens, one.ttfo_ms) == ((1,) * 4, None)


def test_who_tells_the_tokens_of_each_event_is_believed() -> None:
    one = sample([*[{"text": "w", "token_ids": [1, 2]}] * 2, {"text": "", "finish_reason": "stop"}], used(4))
    assert (one.tokens, one.counted) == ((2, 2), "token ids")
