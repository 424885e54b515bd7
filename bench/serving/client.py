"""A client of OpenAI-compatible servers: one request, streamed, and what is known of it afterwards."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.formatting import one_line
from bench.serving.address import Address, Secret
from bench.serving.connection import Connection, Lost, connect
from bench.serving.events import DONE, event_of, message_of
from bench.serving.samples import Sample, Status
from bench.serving.sse import BadStream, EventParser
from bench.serving.tokens import Arrival, counted

Api = Literal["completions", "chat"]
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 30.0
MOST_BODY = 64 * 1024
MOST_LETTERS = 300  # of a reason


@dataclass(frozen=True)
class Asked:
    """A request: its prompt, how many tokens that is meant to be, and the most tokens of the reply."""

    prompt: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Settings:
    """How a client asks. ``timeout_s`` bounds a request and its retries; ``extra`` goes into each body."""

    server: Address
    model: str
    api: Api = "completions"
    key: Secret | None = field(default=None, repr=False)
    timeout_s: float = 600.0
    retries: int = 0
    backoff_s: float = 0.25
    extra: Mapping[str, object] = field(default_factory=dict)


class Client:
    """Send requests; connections are kept and used again. Use it within one event loop, and ``close`` it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._idle: list[Connection] = []
        self._trust = ssl.create_default_context() if settings.server.scheme == "https" else None

    async def send(self, number: int, asked: Asked, scheduled_ns: int | None = None) -> Sample:
        """Send one request and wait for its end. A failure is a sample too, and never an exception."""
        request = self._request(asked)
        sent_ns = time.monotonic_ns()
        trip = _Trip(number, asked, sent_ns if scheduled_ns is None else scheduled_ns, sent_ns)
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await self._attempts(trip, request)
        except TimeoutError:
            trip.fail(f"no end within {self.settings.timeout_s:g} s", cut=True)
        return trip.sample(self.settings.key)

    def close(self) -> None:
        """Drop all connections."""
        while self._idle:
            self._idle.pop().close()

    async def _attempts(self, trip: _Trip, request: bytes) -> None:
        for left in range(self.settings.retries, -1, -1):
            trip.attempts += 1
            reply = _Reply()
            trip.reply = reply
            try:
                await self._exchange(trip, request, reply)
            except Lost as bad:
                trip.fail(str(bad), cut=True)
            except BadStream as bad:
                trip.fail(str(bad), cut=False)
            else:
                trip.finish()
            worth = not reply.arrivals and (reply.status is None or reply.status in RETRIED)
            if trip.status == "ok" or not left or not worth:
                return
            await asyncio.sleep(self._wait(trip.attempts, reply))

    def _wait(self, attempt: int, reply: _Reply) -> float:
        """Return the seconds before another attempt: what the server asks for, or twice as long each time."""
        asked = reply.headers.get("retry-after", "")
        wait = float(asked) if asked.isdecimal() else self.settings.backoff_s * 2 ** (attempt - 1)
        return min(wait, LONGEST_WAIT_S)

    async def _exchange(self, trip: _Trip, request: bytes, reply: _Reply) -> None:
        """Send over a kept connection, or over a new one if the server has closed that meanwhile."""
        while self._idle:
            kept = self._idle.pop()
            if not kept.open:
                continue
            try:
                await self._ask(kept, request, reply)
            except Lost:
                if kept.heard:
                    raise
                trip.reconnects += 1
            else:
                return
        begun_ns = time.monotonic_ns()
        connection = await connect(self.settings.server, self._trust)
        trip.connect_ns += time.monotonic_ns() - begun_ns
        await self._ask(connection, request, reply)

    async def _ask(self, connection: Connection, request: bytes, reply: _Reply) -> None:
        try:
            await connection.ask(request, reply)
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def _request(self, asked: Asked) -> bytes:
        """Return the bytes of a request."""
        how = self.settings
        chat = how.api == "chat"
        said: dict[str, object] = (
            {"messages": [{"role": "user", "content": asked.prompt}]} if chat else {"prompt": asked.prompt}
        )
        body = {
            "model": how.model, **said, "max_tokens": asked.output_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, **how.extra,
        }  # fmt: skip
        data = json.dumps(body, allow_nan=False).encode()
        path = "/chat/completions" if chat else "/completions"
        return request_bytes("POST", how.server, how.server.prefix + path, how.key, data)


def request_bytes(method: str, server: Address, path: str, key: Secret | None, data: bytes = b"") -> bytes:
    """Return a request of HTTP/1.1; ``data`` is JSON."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {server.netloc}", "Accept: text/event-stream",
             "User-Agent: inference-cost-bench", "Accept-Encoding: identity",
             "Content-Type: application/json", f"Content-Length: {len(data)}"]  # fmt: skip
    if key is not None:
        lines.append(f"Authorization: Bearer {key.reveal()}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + data


class _Reply:
    """A reply as it comes."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.arrivals: list[Arrival] = []
        self.usage: tuple[int | None, int | None] | None = None
        self.cached: int | None = None
        self.finish: str | None = None
        self.done = False
        self.body = b""
        self._parser = EventParser()

    @property
    def streamed(self) -> bool:
        return self.status == 200 and "text/event-stream" in self.headers.get("content-type", "")

    @property
    def unfinished(self) -> bool:
        return self._parser.unfinished

    def begins(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers

    def receives(self, at_ns: int, data: bytes) -> None:
        if not self.streamed:
            self.body = (self.body + data)[:MOST_BODY]
            return
        for text in self._parser.feed(data):
            if text.strip() == DONE:
                self.done = True
            elif not self.done:
                self._take(at_ns, text)

    def _take(self, at_ns: int, text: str) -> None:
        event = event_of(text)
        self.usage, self.finish = event.usage or self.usage, event.finish or self.finish
        self.cached = self.cached if event.cached is None else event.cached
        if event.text or event.thoughts or event.ids:
            self.arrivals.append(Arrival(at_ns, event))

    def refusal(self) -> str:
        """Say why this reply is no stream."""
        if self.status is not None and 300 <= self.status < 400:
            to = urlsplit(self.headers.get("location", "")).hostname or "another path"
            return f"the server redirects to {one_line(to)[:100]}, which is not followed: give that address"
        if self.status == 200:
            return (
                f"the reply is {one_line(self.headers.get('content-type', 'of no type'))[:80]}, not a stream"
            )
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        told = message_of(found) if isinstance(found, dict) else one_line(self.body.decode(errors="replace"))
        return f"HTTP {self.status}: {told}" if told.strip() else f"HTTP {self.status}"


class _Trip:
    """One request with all its attempts."""

    def __init__(self, number: int, asked: Asked, scheduled_ns: int, sent_ns: int) -> None:
        self.number, self.asked, self.scheduled_ns, self.sent_ns = number, asked, scheduled_ns, sent_ns
        self.attempts = self.reconnects = self.connect_ns = 0
        self.status: Status = "failed"
        self.reason = ""
        self.reply = _Reply()
        self.end_ns = sent_ns

    def finish(self) -> None:
        """The reply is complete as HTTP; see whether it is a whole answer."""
        reply = self.reply
        if not reply.streamed:
            self.fail(reply.refusal(), cut=False)
        elif not reply.done and reply.finish is None:
            self.fail("the stream ended without [DONE] and without a finish_reason", cut=True)
        elif reply.unfinished and not reply.done:
            self.fail("the stream ended within an event", cut=True)
        elif not reply.arrivals:
            self.fail("the reply held no text, so there is nothing to time", cut=False)
        else:
            self.end_ns, self.status, self.reason = time.monotonic_ns(), "ok", ""

    def fail(self, reason: str, *, cut: bool) -> None:
        """Note why it failed; a reply that ``cut`` off after its first token is cut short."""
        self.end_ns = time.monotonic_ns()
        self.status = "cut short" if cut and self.reply.arrivals else "failed"
        self.reason = reason

    def sample(self, key: Secret | None) -> Sample:
        """Return what is kept."""
        reply, arrivals = self.reply, self.reply.arrivals
        n_in, said = reply.usage or (None, None)
        tokens = counted(arrivals, said, self.asked.output_tokens)
        thoughts = next((at for at, one in enumerate(arrivals) if not one.event.thoughts), len(arrivals))
        reason = without(key, self.reason)
        return Sample(
            self.number, self.scheduled_ns, self.sent_ns, self.end_ns, self.status, reason, reply.status,
            self.attempts, self.reconnects, self.connect_ns, tuple(one.at_ns for one in arrivals),
            tokens.per_event, thoughts, n_in or None, reply.cached, self.asked.input_tokens,
            self.asked.output_tokens, tokens.how, tokens.verified, tokens.doubt, reply.finish,
        )  # fmt: skip


def without(key: Secret | None, text: str) -> str:
    """Return ``text`` without the key, in a length for people. It is hidden first: half a key is one too."""
    return (key.hidden_in(text) if key else text)[:MOST_LETTERS]


async def fetch(
    server: Address, path: str, key: Secret | None, body: object = None, wait_s: float = 10
) -> object:
    """Return the JSON at ``path`` (from the root), None if it holds none. Raises BenchError."""
    reply = _Reply()
    data = b"" if body is None else json.dumps(body).encode()
    request = request_bytes("GET" if body is None else "POST", server, path, key, data)
    try:
        async with asyncio.timeout(wait_s):
            trust = ssl.create_default_context() if server.scheme == "https" else None
            connection = await connect(server, trust)
            try:
                await connection.ask(request, reply)
            finally:
                connection.close()
    except TimeoutError:
        raise BenchError(f"{server.url}: no answer within {wait_s:g} s") from None
    except (Lost, BadStream) as bad:
        raise BenchError(f"{server.url}: {bad}") from None
    if reply.status != 200:
        told = reply.refusal()
        raise BenchError(f"{server.url}: {without(key, told)}")
    try:
        found: object = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return found
