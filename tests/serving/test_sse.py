"""Events are the same however their bytes are cut, and what is no stream is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.serving.sse import BadStream, EventParser
from bench.serving.stream_events import Event, ServerSaid, event_of

TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def parsed(chunks: list[bytes], most: int = 10_000) -> list[str]:
    parser = EventParser(most)
    return [event for chunk in chunks for event in parser.feed(chunk)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """A stream with comments, other fields and several lines of data, and the events in it."""
    end, mark = draw(ENDS), draw(st.booleans())
    lines: list[str] = []
    events = draw(st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=6))
    for event in events:
        if draw(st.booleans()):
            lines += [f": {draw(TEXTS)}", "event: message", "id: 7", "retry: 10"]
        lines += [f"data: {line}" for line in event] + [""]
    text = "".join(line + end for line in lines)
    if end == "\r":
        text += ": the last \\r could be half of an end of line\n"
    return (b"\xef\xbb\xbf" if mark else b"") + text.encode(), ["\n".join(event) for event in events]


@given(streams(), st.data())
def test_however_it_is_cut(stream: tuple[bytes, list[str]], data: st.DataObject) -> None:
    whole, events = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert parsed(chunks) == parsed([whole]) == parsed([bytes([one]) for one in whole]) == events


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_are_events_or_a_reason(data: bytes, size: int) -> None:
    reason = "fine"
    try:
        for event in parsed([data[at : at + size] for at in range(0, len(data), size)], most=100):
            event_of(event)
    except BadStream as bad:
        reason = str(bad)
    assert reason


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * 200 + b"\n\n"],
        [b"data: " + b"x" * 60 + b"\n"] * 2,
        [b"x" * 60, b"x" * 60],
        [b": " + b"x" * 200],
        [b"\n" * 200],
        [b"data:\n" * 20],
        [b": still there\n\n"] * 20,
        [b"id: 7\r\n"] * 20,
    ],
)
def test_memory_is_bounded(chunks: list[bytes]) -> None:
    with pytest.raises(BadStream, match="more than 100 bytes"):
        parsed(chunks, most=100)


def test_what_is_between_events_is_bounded_for_each() -> None:
    """A server that says every second that it is still there may do so for as long as a reply may take."""
    assert parsed([b": still there\n\n" * 4, b"data: a\n\n"] * 50, most=100) == ["a"] * 50


def test_an_event_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(BadStream, match="not UTF-8"):
        parsed([b"data: \xff\n\n"])


def test_a_stream_that_ends_within_an_event_is_seen() -> None:
    parser = EventParser()
    assert list(parser.feed(b"data: a\n\ndata: b\n")) == ["a"]
    assert parser.unfinished


@pytest.mark.parametrize(
    ("said", "event"),
    [
        ({"choices": [{"text": "a", "finish_reason": None}]}, Event("a")),
        ({"choices": [{"delta": {"content": "a"}}]}, Event("a")),
        ({"choices": [{"delta": {"reasoning_content": "hm"}}]}, Event(thoughts="hm")),
        ({"choices": [{"delta": {"reasoning": "hm", "content": None}}]}, Event(thoughts="hm")),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, Event(finish="stop")),
        ({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 8}}, Event(usage=(3, 8))),
        (
            {"choices": [], "usage": {"prompt_tokens": -3, "completion_tokens": 1.5}},
            Event(usage=(None, None)),
        ),
        ({"choices": [{"text": "a", "token_ids": [1, 2]}], "usage": None}, Event("a", ids=2)),
    ],
)
def test_what_an_event_says(said: object, event: Event) -> None:
    assert event_of(json.dumps(said)) == event


@pytest.mark.parametrize("said", ["{", "[]", "1", '{"choices": 3}', '{"choices": [3]}', "[" * 100_000])
def test_what_is_no_event_is_refused(said: str) -> None:
    with pytest.raises(BadStream):
        event_of(said)


def test_an_error_within_a_stream_is_told() -> None:
    with pytest.raises(ServerSaid, match="out of memory"):
        event_of('{"error": {"message": "out of memory"}}')
