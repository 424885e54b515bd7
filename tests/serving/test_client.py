"""One request against the stub: its times, its tokens, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.formatting import MIB
from bench.records.samples import Sample
from bench.serving.address import Address, Secret, address, key_of
from bench.serving.client import Client, Settings
from bench.serving.connection import Connection, Lost
from bench.serving.load import run
from bench.serving.reply import Asked, Reply
from bench.serving.server import free_port
from bench.serving.stream_events import Event
from bench.serving.target import Manner, there
from bench.serving.tokens import Arrival, counted

ASKED = Asked("one two three", 3, 8)


def sent(server: Address, model: str, requests: int = 1, **more: object) -> list[Sample]:
    """The samples of requests one after another."""

    async def work() -> list[Sample]:
        client = Client(replace(Settings(server, model, timeout_s=5.0), **more))  # type: ignore[arg-type]
        found = [await client.send(number, ASKED) for number in range(requests)]
        client.close()
        return found

    return run(work())


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_reply_is_timed(stub: Address, api: str) -> None:
    """The bounds are wide: other programs use the machine. scripts/client-accuracy has the narrow ones."""
    [one] = sent(stub, "ttft=60,gap=20,tokens=5", api=api)
    assert (one.status, one.reason, one.http_status, one.attempts) == ("ok", "", 200, 1)
    assert (one.n_in, one.tokens, one.verified, one.finish) == (3, (1,) * 5, True, "length")
    assert 60 <= one.ttft_ms < 1000
    last_ms = one.ttft_ms + math.fsum(one.gaps_ms())
    assert 140 <= last_ms < one.e2el_ms + 1e-6  # sums of milliseconds: the last digit may differ
    assert one.e2el_ms < 2000


@pytest.mark.parametrize("per", [1, 3])
def test_the_identity_of_one_request(stub: Address, per: int) -> None:
    [one] = sent(stub, f"ttft=5,gap=6,tokens=6,per={per}")
    assert one.tokens == (per,) * (6 // per)
    assert math.fsum(one.itl_ms()) == pytest.approx((one.events_ns[-1] - one.events_ns[0]) / 1e6)
    assert math.fsum(one.itl_ms()) / len(one.itl_ms()) == pytest.approx(one.tpot_ms)
    assert len(one.itl_ms()) == 6 - per
    assert one.itl_ms()[0] == pytest.approx(one.gaps_ms()[0] / per)


def test_thoughts_are_timed_apart(stub: Address) -> None:
    [one] = sent(stub, "ttft=5,gap=10,tokens=6,think=4", api="chat")
    assert one.thoughts == 4
    assert one.ttfo_ms is not None
    assert one.ttfo_ms == pytest.approx(one.ttft_ms + math.fsum(one.gaps_ms()[:4]))
    assert one.n_out == 6


def test_a_connection_is_used_again(stub: Address) -> None:
    first, second = sent(stub, "gap=1", requests=2)
    assert first.connect_ns > 0
    assert second.connect_ns == 0


@pytest.mark.parametrize(("mode", "reconnects"), [("close", 0), ("once", 1)])
def test_a_connection_that_the_server_has_closed_is_no_failure(
    stub: Address, mode: str, reconnects: int
) -> None:
    """A kept connection may be closed before the next request, or just when it is sent: llama.cpp does so."""

    async def work() -> list[Sample]:
        client = Client(Settings(stub, f"mode={mode}", timeout_s=20))
        found = []
        for number in range(4):
            found.append(await client.send(number, ASKED))
            await asyncio.sleep(0.1)
        client.close()
        return found

    found = run(work())
    assert [(one.status, one.attempts) for one in found] == [("ok", 1)] * 4
    assert [one.reconnects for one in found[1:]] == [reconnects] * 3
    assert all(one.connect_ns > 0 for one in found)


FAILURES = [
    ("mode=status,status=429", "failed", "HTTP 429"),
    ("mode=status,status=500", "failed", "HTTP 500"),
    ("mode=reset", "failed", "connection"),
    ("mode=cut", "cut short", "closed the connection"),
    ("mode=untilcut", "cut short", "without [DONE]"),
    ("mode=drip", "cut short", "no end within 0.5 s"),
    ("mode=hang", "failed", "no end within 0.5 s"),
    ("mode=huge", "failed", "more than 1048576 bytes"),
    ("mode=badjson", "failed", "not JSON"),
    ("mode=badutf8", "failed", "not UTF-8"),
    ("mode=error", "failed", "out of memory"),
    ("mode=redirect", "failed", "redirects to elsewhere.example, which is not followed"),
]


@pytest.mark.parametrize(("model", "status", "reason"), FAILURES)
@pytest.mark.fault(24)
def test_what_fails_is_said_and_nothing_hangs(stub: Address, model: str, status: str, reason: str) -> None:
    timeout_s = 0.5 if "no end" in reason else 20.0
    [one] = sent(stub, model, timeout_s=timeout_s)
    assert one.status == status
    assert reason in one.reason


def test_nobody_there() -> None:
    [one] = sent(Address("http", "127.0.0.1", free_port()), "x")
    assert (one.status, one.n_out) == ("failed", 0)
    assert "refused" in one.reason


@pytest.mark.parametrize(
    ("mode", "doubt"),
    [
        ("nousage", "sent no usage"), ("wrongusage", "usage says 1 output tokens, and 8 events"),
        ("zerousage", "usage says 0 output tokens"), ("hugeusage", "and 8 were asked for"),
    ],
)  # fmt: skip
@pytest.mark.fault(25)
def test_a_usage_that_lies_or_is_missing_is_unverified_and_never_0(
    stub: Address, mode: str, doubt: str
) -> None:
    [one] = sent(stub, f"mode={mode}")
    assert (one.status, one.n_out, one.verified) == ("ok", 8, False)
    assert doubt in one.doubt


def test_token_ids_are_counted(stub: Address) -> None:
    [one] = sent(stub, "mode=ids,per=3")
    assert (one.tokens, one.counted, one.verified) == ((3, 3, 2), "token ids", True)


def test_token_ids_without_a_usage_are_unverified_with_a_reason() -> None:
    ids = (Arrival(1, Event("a", ids=2)), Arrival(2, Event("b", ids=3)))
    found = counted(ids, None, 8)
    assert (found.per_event, found.verified) == ((2, 3), False)
    assert found.doubt == "the server sent no usage to hold its token ids against"


@pytest.mark.parametrize("mode", ["crlf", "nodone", "nofinish", "untilclose"])
def test_other_ways_to_stream(stub: Address, mode: str) -> None:
    [one] = sent(stub, f"mode={mode}")
    assert (one.status, one.n_out) == ("ok", 8)


@contextmanager
def serving(reply: bytes) -> Iterator[Address]:
    """A server that answers one request with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(reply)
                connection.recv(1)

        Thread(target=answer, daemon=True).start()
        yield Address("http", "127.0.0.1", listening.getsockname()[1])


def answered(reply: bytes) -> Sample:
    with serving(reply) as server:
        [found] = sent(server, "m", timeout_s=20.0)
    return found


def stream(*events: bytes) -> bytes:
    body = b"".join(b"data: %s\n\n" % event for event in events)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head + body


LAST = b'{"choices": [{"text": "a", "finish_reason": "stop"}]}'


@pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints"])
def test_a_provisional_answer_is_no_reply(status: str) -> None:
    """A proxy may send one before the reply, with headers of its own."""
    hint = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n\r\n".encode()
    one = answered(hint + stream(LAST))
    assert (one.status, one.http_status, one.n_out) == ("ok", 200, 1)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
            "redirects to another path",
        ),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304"),
        (
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + stream(LAST),
            "not HTTP/1.1",
        ),
        (stream(*[b'{"choices": []}'] * 2000, LAST), "more events than a reply of so many tokens can have"),
        (stream(*[b'{"choices": [{"text": "a"}]}'] * 2000, LAST), "more events than a reply"),
    ],
    ids=["location", "304", "upgrade", "empty events", "events"],
)
def test_a_server_that_answers_something_else(reply: bytes, reason: str) -> None:
    """Without a bound, 256 MiB of tiny events would be gigabytes of memory, and minutes without a timeout."""
    one = answered(reply)
    assert one.status == "failed"
    assert reason in one.reason


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 " + b"x" * 2 * MIB,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MIB,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300_000,
        b"HTTP/1.1 102 Processing\r\n\r\n" * 60_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 2 * MIB,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: " + b"x" * 2 * MIB,
    ],
    ids=["status", "header", "headers", "provisional", "chunk", "trailer"],
)
def test_what_is_no_body_has_a_bound(reply: bytes) -> None:
    """A line that does not end is copied with each piece: of 256 MiB, that would take half a minute."""
    assert answered(reply).reason == "headers of more than 64 KiB"


@pytest.mark.parametrize("name", ["null", "5", "{}", '""', '"\\u001b[31m"', '"\\ud800"', f'"{"x" * 301}"'])
def test_a_name_of_a_model_that_cannot_be_shown(name: str) -> None:
    body = f'{{"data": [{{"id": {name}}}]}}'.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serving(head + body) as server, pytest.raises(UsageError, match="name it yourself"):
        there(server, None, None, Manner())


@pytest.mark.fault(24)
def test_a_retry_is_counted_and_stays_in_the_latency(stub: Address) -> None:
    [one] = sent(stub, "fail=2,status=429", retries=3, backoff_s=0.1)
    assert (one.status, one.attempts) == ("ok", 3)
    assert one.ttft_ms >= 300


def test_what_came_is_not_asked_for_again(stub: Address) -> None:
    [one] = sent(stub, "mode=cut,tokens=7", retries=3)
    assert (one.status, one.attempts) == ("cut short", 1)


# ---- counting ----

COUNTS = st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=20)


@given(COUNTS, st.integers(0, 60), st.integers(1, 60))
def test_every_event_has_a_token_and_the_sum_is_kept(texts: list[str], said: int, asked: int) -> None:
    found = counted([Arrival(at, Event(text)) for at, text in enumerate(texts)], said, asked)
    assert len(found.per_event) == len(texts)
    assert min(found.per_event) >= 1
    assert found.total == (said if len(texts) <= said <= asked else len(texts))
    assert found.verified == (said == len(texts) <= asked)


def test_a_running_usage_is_exact() -> None:
    events = [Arrival(at, Event("a", usage=(3, total))) for at, total in enumerate([2, 3, 7])]
    assert counted(events, 7, None).per_event == (2, 1, 4)


@pytest.mark.parametrize(
    ("first", "last"),
    [(Event("a", usage=(3, 1)), Event("a", usage=(3, 10**8))), (Event(ids=1), Event(ids=10**8))],
    ids=["usage", "ids"],
)
def test_a_number_that_costs_a_server_nothing_is_not_believed(first: Event, last: Event) -> None:
    """Each token has a time of its own: a hundred million of them would fill the memory."""
    found = counted([Arrival(0, first), Arrival(1, last)], 8, 8)
    assert (found.total, found.verified) == (8, False)


TOLD = st.fixed_dictionaries(
    {"text": st.sampled_from(["", "a", " "]), "token_ids": st.sampled_from([None, [], [1], [1, 2, 3]])}
)
USAGES = st.none() | st.fixed_dictionaries({"completion_tokens": st.integers(0, 9)})


@given(st.lists(st.tuples(TOLD, USAGES), max_size=8))
def test_an_event_without_a_token_is_no_token_and_no_first_one(
    events: list[tuple[dict[str, Any], Any]],
) -> None:
    reply = Reply()
    reply.begins(200, {"content-type": "text/event-stream"})
    for at, (told, usage) in enumerate(events):
        event = json.dumps({"choices": [told], "usage": usage})
        reply.receives(at, f"data: {event}\n\n".encode())
    holding = [at for at, (told, _usage) in enumerate(events) if told["text"] or told["token_ids"]]
    assert [one.at_ns for one in reply.arrivals] == holding
    found = counted(reply.arrivals, (reply.usage or (None, None))[1], 99)
    assert len(found.per_event) == len(holding)
    assert min(found.per_event, default=1) >= 1


# ---- addresses and keys ----

BAD = [
    "file:///etc/passwd", "ftp://host/", "host:80", "", "http://", "http://user:hunter2@host/", "http://host/?key=hunter2",
    "http://host/#hunter2", "http://host:port/",
    "http://a..b/", f"http://{'a' * 64}.example/", "http://two words/",
    "http://host:99999/", "http://host/hunter2 hunter2",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD)
@pytest.mark.bad_input(32)
def test_an_address_that_is_none_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as bad:
        address(url)
    assert "hunter2" not in str(bad.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("https://api.example/openai/v1/", "https://api.example/openai/v1"),
        ("https://api.example/v1/chat/completions", "https://api.example/v1"),
        ("http://[::1]:80/v1", "http://[::1]/v1"),
        ("http://münchen.example:8000", "http://xn--mnchen-3ya.example:8000/v1"),
    ],
)
def test_an_address_is_read(url: str, base: str) -> None:
    assert address(url).url == base


KEY = "sk-planted-0123456789/abc+def=="


@pytest.mark.parametrize(
    ("url", "name", "value", "words"),
    [
        ("https://host", "A_KEY", None, "not set"), ("https://host", "A_KEY", "", "empty"),
        ("https://host", KEY, None, "not a key"), ("https://host", "A_KEY", "a\nb", "cannot be a key"),
        ("http://host.example", "A_KEY", KEY, "in the clear"),
        ("http://10.0.0.1", "A_KEY", KEY, "in the clear"),
    ],
)  # fmt: skip
@pytest.mark.bad_input(33, 34, 35)
def test_a_key_that_must_not_be_used(
    url: str, name: str, value: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("A_KEY", value)
    with pytest.raises(UsageError, match=words) as bad:
        key_of(name, address(url))
    assert KEY not in str(bad.value)


@pytest.mark.parametrize(
    "url", ["https://host.example", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"]
)
def test_a_key_that_may_be_used(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)
    found = key_of("A_KEY", address(url))
    assert found is not None
    assert found.reveal() == KEY
    assert KEY not in repr(found) + repr(Settings(address(url), "m", key=found))


@pytest.mark.parametrize("padding", ["", "x" * 280])
def test_a_key_that_the_server_sends_back_is_hidden(stub: Address, padding: str) -> None:
    """The stub's refusal holds the header; a reason that is cut must not hold half of the key."""
    secret = Secret("A_KEY", padding + KEY)
    [one] = sent(stub, "mode=status,status=401", key=secret)
    assert "[key]" in one.reason
    assert KEY[:8] not in one.reason


@pytest.mark.parametrize("form", [KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode()])
def test_other_forms_of_a_key_are_hidden(form: str) -> None:
    assert form not in Secret("A_KEY", KEY).hidden_in(f"a {form} b")


@pytest.mark.parametrize("secret", [KEY, "x" * 9, "short", "a/b+c=" * 9])
@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_key_that_a_server_cuts_is_hidden(secret: str, cut: int) -> None:
    """A server has a longest message too. Of a very short key, a part is a word as any other."""
    hidden = Secret("A_KEY", secret).hidden_in(f"Bearer {secret[:-cut]}, {secret}, {secret[:-cut]}")
    assert secret not in hidden
    if len(secret) > 8 + cut:
        assert hidden == "Bearer [key], [key], [key]"


def test_a_word_that_begins_as_the_key_does_loses_no_load() -> None:
    secret = Secret("A_KEY", "local-benchmark-key")
    assert secret.hidden_in("local-benchmark, local-benchmark-key", whole=True) == "local-benchmark, [key]"
    assert not secret.is_in("local-benchmark")
    assert secret.is_in(f"a {base64.b64encode(b'local-benchmark-key').decode()}")


class Wire:
    """A socket that notes that it was closed."""

    closed = False

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        raise AssertionError(f"sent over a connection that is of no use: {data!r}")

    def abort(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("unasked", "said"), [(b"SSH-2.0-x\r\n", "sent bytes before"), (b"", "closed the")])
def test_a_server_that_talks_unasked_is_told_from_one_that_hangs_up(unasked: bytes, said: str) -> None:
    connection, wire = Connection(), Wire()
    connection.over(wire)
    if unasked:
        connection.received(1, unasked)
    else:
        wire.abort()
    with pytest.raises(Lost, match=said):
        asyncio.run(connection.ask(b"GET / HTTP/1.1\r\n\r\n", None))  # type: ignore[arg-type]
