"""The times of a request to a server, against arithmetic by hand on its time stamps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.records.samples import Sample

# Scheduled at 10 ms and sent at 12 ms; events at 30, 37 and 52 ms with 2, 1 and 3 tokens; the end at 60 ms.
SAMPLE = Sample(
    number=3, scheduled_ns=10_000_000, sent_ns=12_000_000, end_ns=60_000_000, status="ok", reason="",
    http_status=200, attempts=1, reconnects=0, connect_ns=0,
    events_ns=(30_000_000, 37_000_000, 52_000_000), tokens=(2, 1, 3), thoughts=1, n_in=9, n_cached=None,
    asked_in=10, asked_out=6, counted="usage", verified=True, doubt="", finish="stop",
)  # fmt: skip


def test_the_times_of_a_request() -> None:
    assert (SAMPLE.ttft_ms, SAMPLE.ttft_sched_ms, SAMPLE.ttfo_ms) == (18.0, 20.0, 25.0)
    assert (SAMPLE.e2el_ms, SAMPLE.e2el_sched_ms) == (48.0, 50.0)
    assert SAMPLE.tpot_ms == 22 / 4  # (52 − 30) ms over the tokens after the first event
    assert SAMPLE.gaps_ms() == [7.0, 15.0]
    assert SAMPLE.itl_ms() == [7.0, 5.0, 5.0, 5.0]
    assert sum(SAMPLE.itl_ms()) == sum(SAMPLE.gaps_ms())


@pytest.mark.parametrize(("thoughts", "ttfo"), [(0, 18.0), (2, 40.0), (3, None), (9, None)])
def test_the_first_token_that_is_no_reasoning(thoughts: int, ttfo: float | None) -> None:
    assert replace(SAMPLE, thoughts=thoughts).ttfo_ms == ttfo


def test_one_token_after_the_first_event() -> None:
    two = replace(SAMPLE, events_ns=SAMPLE.events_ns[:2], tokens=(4, 1))
    assert two.tpot_ms == 7.0


@pytest.mark.parametrize("tokens", [(), (4,), (4, 0)])
def test_one_event_has_no_time_per_token(tokens: tuple[int, ...]) -> None:
    assert replace(SAMPLE, events_ns=SAMPLE.events_ns[: len(tokens)], tokens=tokens).tpot_ms is None


def test_tokens_in_and_out() -> None:
    assert (SAMPLE.n_out, SAMPLE.input_tokens) == (6, 9)
    assert replace(SAMPLE, n_in=None).input_tokens == 10
    assert replace(SAMPLE, n_in=0).input_tokens == 0
    assert SAMPLE.ok
    assert not replace(SAMPLE, status="cut short").ok


def test_a_journal_gives_it_back() -> None:
    assert Sample.from_json(json.loads(json.dumps(SAMPLE.to_json()))) == SAMPLE
