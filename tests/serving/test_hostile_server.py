"""Whatever a server sends, what is written of it can be read again, and reading it takes little time."""

from __future__ import annotations

import asyncio
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.cli.load_pages import page
from bench.errors import BenchError
from bench.formatting import MIB
from bench.metrics.requests import Limits
from bench.records import DriftWindow
from bench.records.loads import ClientOverhead
from bench.report.formats import harmless
from bench.serving import distributions, prompts, record, server, server_drift
from bench.serving.address import Address
from bench.serving.arrivals import NOTHING_SHARED, Sharing
from bench.serving.cache_hits import Hits, hits_in
from bench.serving.distributions import Asker
from bench.serving.drift import Drift
from bench.serving.engines.server_facts import Said, number, text
from bench.serving.load import Load
from bench.serving.load_verification import verify_load
from bench.serving.reply import Asked, Reply, Trip
from bench.serving.sse import BadStream, EventParser

QUIET = ClientOverhead(0.0, 0.1, 0.1, 0.0, 0.1, 0.1, "test")
HERE = Address("http", "127.0.0.1", 1)
# Any text of JSON, halves of letters and control characters among it.
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(["\ud800", "\x1b[31m", "::error::x", "a\nb"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | TEXTS | st.integers(-(10**30), 10**30) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "choices": st.lists(
                st.fixed_dictionaries(
                    {}, optional=dict.fromkeys(("text", "delta", "finish_reason", "token_ids"), ANYTHING)
                )
                | ANYTHING,
                max_size=2,
            )
            | ANYTHING,
            "usage": ANYTHING
            | st.fixed_dictionaries({"prompt_tokens": ANYTHING, "completion_tokens": ANYTHING}),
            "error": ANYTHING,
        },
    )
    | ANYTHING,
    max_size=5,
)
STREAM = {"content-type": "text/event-stream"}


def trip(status: int, headers: dict[str, str], body: bytes) -> Trip:
    """A request whose reply came in one piece, as a client ends it."""
    now = time.monotonic_ns()
    found = Trip(0, Asked("one", 1, 4), now, now)
    found.reply.begins(status, headers)
    try:
        found.reply.receives(time.monotonic_ns(), body)
    except BadStream as bad:
        found.fail(str(bad), cut=False)
    else:
        found.finish()
    return found


def read_back(place: Path, *trips: Trip, **head: object) -> str:
    """Write a load of these requests, read and check it, and return its page."""
    about = {"target": HERE.url, "model": "m", "schedule": "s", **head}
    load = Load(tuple(one.sample(None) for one in trips), QUIET)
    record.write(place, record.result(about, load, Limits({}), None), lambda: "2026-01-31T12:00:00Z", None)
    verify_load(place)
    return page(harmless(record.again(place, {})), place)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, finish=ANYTHING, whole=st.booleans())
@example(events=[], finish="\ud800", whole=True)
@example(events=[], finish=["x" * MIB], whole=True)
def test_a_stream_of_anything(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], finish: Any, whole: bool
) -> None:
    events = [*events, {"choices": [{"text": "a", "finish_reason": finish}]}]
    lines = [json.dumps(event) for event in events] + ["[DONE]"] * whole
    body = "".join(f"data: {line}\n\n" for line in lines).encode()
    shown = read_back(tmp_path_factory.mktemp("load"), trip(200, STREAM, body))
    assert "\x1b" not in shown


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=ANYTHING, status=st.integers(100, 999), kind=TEXTS, where=TEXTS)
def test_a_refusal_of_any_kind(
    tmp_path_factory: pytest.TempPathFactory, said: Any, status: int, kind: str, where: str
) -> None:
    """Headers come as Latin-1."""
    headers = {"content-type": kind, "location": where}
    body = json.dumps({"error": said}).encode()
    assert "1 failed" in read_back(tmp_path_factory.mktemp("load"), trip(status, headers, body))


@given(said=ANYTHING)
def test_what_a_server_says_of_itself_can_be_kept(said: Any) -> None:
    words, count = text(said), number(said)
    found = Said(version=words, max_length=count)
    assert Said.from_json({**found.to_json(), "of another version": 1}) == found
    assert words is None or (words.isprintable() and len(words) <= 100)
    assert count is None or 0 <= count < 10**12


def test_settings_of_another_version_are_shown(tmp_path: Path) -> None:
    ok = trip(200, STREAM, b'data: {"choices": [{"text": "a"}]}\n\ndata: [DONE]\n\n')
    more = {"settings": {"version": "1", "of_another_version": 5}, "workload": None, "prefix_cache": None}
    assert "the server says: version 1" in read_back(tmp_path, ok, **more)


def test_evidence_that_could_not_be_kept_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's servers write NaN, which is no JSON."""

    async def fetch(*_: object, **__: object) -> object:
        return {"factor": math.nan}

    class Engine:
        evidence = ("/info",)

    class Up:
        adapter, address = Engine(), HERE

    monkeypatch.setattr(server, "fetch", fetch)
    found = asyncio.run(server._evidence(Up()))  # type: ignore[arg-type]
    assert str(found["/info"]).startswith("not read: not finite")


def test_counters_that_no_server_has_reached() -> None:
    lines = "vllm:prefix_cache_hits_total {}\nvllm:prefix_cache_queries_total {}\n"
    assert hits_in(lines.format("1e18", "1e18")) == Hits(1e18, 1e18)
    assert hits_in(lines.format("1e19", "2e19")) is None


@pytest.mark.parametrize("ln_p", [0.02, 5.0, 1e300])
def test_what_is_no_log_probability_is_refused(monkeypatch: pytest.MonkeyPatch, ln_p: float) -> None:
    async def fetch(*_: object, **__: object) -> object:
        return {"choices": [{"logprobs": {"top_logprobs": [{"token_id:0": ln_p}]}}]}

    monkeypatch.setattr("bench.serving.distributions.fetch", fetch)
    with pytest.raises(BenchError, match="no log-probabilities by token id"):
        asyncio.run(Asker(HERE, "m").completion([1], 1))


def test_a_server_that_finds_every_token_impossible_has_a_drift() -> None:
    """exp(9999) is no number, and the load that was measured before must not be lost for it."""
    windows = (DriftWindow((9990.0,) * 4, (0,) * 4, (-1.0,) * 4, (-9999.0,) * 4),) * 6
    figures = Drift("m", "english", "r", None, "", windows).figures()
    kld = figures["kld_mean"]
    assert kld is not None
    assert (kld.value, figures["ppl_ratio"]) == (9990.0, None)


# ---- how long it takes ----------------------------------------------------------------------------------


def seconds_of(receive: Any, whole: bytes, size: int) -> float:
    """Seconds of the processor to take a reply in pieces."""
    began = time.process_time()
    for at in range(0, len(whole), size):
        receive(whole[at : at + size])
    return time.process_time() - began


def test_one_long_event_in_small_pieces() -> None:
    """Looking for its end from its beginning each time would take a minute."""
    parser = EventParser()
    assert seconds_of(lambda data: list(parser.feed(data)), b"data: " + b"x" * (MIB - 10), 32) < 10


def test_a_long_reply_in_small_pieces() -> None:
    """Copying all of it each time would take minutes."""
    reply = Reply(64 * MIB)
    reply.begins(200, {"content-type": "application/json"})
    whole = b"1" * (16 * MIB)
    assert seconds_of(lambda data: reply.receives(0, data), whole, 256) < 10
    assert reply.body == whole
    assert not reply.too_long


def test_a_reply_has_its_bound_however_it_is_cut() -> None:
    for size in (1, 3, 7, 100):
        reply = Reply(10)
        reply.begins(500, {})
        seconds_of(lambda data, reply=reply: reply.receives(0, data), b"0123456789ab", size)
        assert (reply.body, reply.too_long) == (b"0123456789", True)


def test_the_tokens_of_a_long_prompt_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server lists every one: 20,000 tokens are more than the body of a short reply."""
    asked: list[int] = []

    async def fetch(_server: object, _path: str, _key: object, body: Any, **how: Any) -> object:
        listed = {"tokens": list(range(100_000, 100_000 + len(body["prompt"].split())))}
        asked.append(how["most_bytes"] - len(json.dumps(listed)))
        return listed

    monkeypatch.setattr(prompts, "fetch", fetch)

    async def counted() -> int:
        count = await prompts.tokenizer_of(HERE, "m", None)
        assert count is not None
        return await count("a " * 20_000)

    assert asyncio.run(counted()) == 20_000
    assert min(asked) > 0


@pytest.mark.parametrize("shared", [NOTHING_SHARED, Sharing(8, 2)])
def test_a_tokenizer_that_is_just_in_time_does_not_hold_the_load(
    monkeypatch: pytest.MonkeyPatch, shared: Sharing
) -> None:
    """Each of six questions for every prompt may take ten seconds: a load of 60 began after an hour."""
    asked: list[str] = []

    async def slow(text: str) -> int:
        asked.append(text)
        await asyncio.sleep(0.05)
        return 1

    monkeypatch.setattr(prompts, "COUNT_S", 0.1)
    monkeypatch.setattr(prompts, "COUNT_EACH_S", 0.0)
    with pytest.raises(BenchError, match=r"the tokens of 60 prompts \(/tokenize\) took more than 0\.1 s"):
        asyncio.run(prompts.Prompts(1, slow).of([(50, 4)] * 60, shared))
    assert len(asked) < 10


def test_a_server_that_is_just_in_time_does_not_hold_the_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each position may take five minutes: two thousand of them would have taken a week."""
    asked: list[object] = []

    async def fetch(_server: object, path: str, *_: object, **__: object) -> object:
        asked.append(path)
        await asyncio.sleep(0.05)
        row = {f"token_id:{number}": -1.0 for number in range(8)}
        return {"choices": [{"logprobs": {"top_logprobs": [row]}}]}

    monkeypatch.setattr(distributions, "fetch", fetch)
    monkeypatch.setattr(distributions, "LEAST_S", 0.2)
    monkeypatch.setattr(distributions, "POSITION_S", 0.0)
    with pytest.raises(BenchError, match=r"the drift of 9 windows took more than 0\.2 s, so the server is"):
        asyncio.run(server_drift.distributions_of(Asker(HERE, "m"), [(1, 2, 3, 4)] * 9))
    assert 0 < len(asked) < 10


def test_a_long_load_has_more_time_and_no_more_than_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float | None] = []
    real = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda s: given.append(s) or real(s))
    for count in (0, 100, 27_000):
        asyncio.run(prompts.Prompts(1, None).of([(1, 2)] * count))
    assert given == [60, 160, 600]


@pytest.mark.parametrize("status", [200, 500])
def test_a_compressed_reply_is_called_so(status: int) -> None:
    """A proxy may compress what was asked for plain; its bytes were parsed as a stream that has no end."""
    reply = Reply()
    reply.begins(status, {"content-type": "text/event-stream", "content-encoding": "gzip"})
    reply.receives(1, b"\x1f\x8b\x08\x00data: x\n\n")
    trip = Trip(0, Asked("p", 1, 8), None, 0)
    trip.reply = reply
    trip.finish()
    assert trip.status == "failed"
    assert trip.reason == f"HTTP {status}: the reply is compressed (gzip), which was not asked for"


def test_a_reply_that_says_it_is_plain_is() -> None:
    reply = Reply()
    reply.begins(200, {"content-type": "text/event-stream", "content-encoding": "identity"})
    assert reply.streamed
