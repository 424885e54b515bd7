"""Send requests to OpenAI-compatible servers, streamed, with retries, and keep what is known of each."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from bench.errors import BenchError, OnFailure
from bench.records.samples import Sample
from bench.serving.address import Address, Secret
from bench.serving.connection import Connection, Lost, connect, load_parser
from bench.serving.plain_socket import stamps_on
from bench.serving.reply import MORE_EVENTS, MOST_BODY, Asked, Reply, Trip, without
from bench.serving.sse import BadStream
from bench.serving.wire import Wire, ask

Api = Literal["completions", "chat"]
Request = bytes | Mapping[str, object]  # of HTTP, or to an engine in process
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 30.0
TURNS = 3  # of the event loop: bytes, then the end that TLS makes of them, then its close


@dataclass(frozen=True)
class Settings:
    """How a client asks. ``timeout_s`` bounds a request and its retries; ``extra`` goes into each body.

    A kept connection may be closed just when a request is sent. Then it is sent again over a new one, unless
    ``resend`` is False: the server may have read it, and bill it twice.
    """

    server: Address
    model: str
    api: Api = "completions"
    key: Secret | None = field(default=None, repr=False)
    timeout_s: float = 600.0
    retries: int = 0
    backoff_s: float = 0.25
    resend: bool = True
    extra: Mapping[str, object] = field(default_factory=dict)


class Client:
    """Send requests; connections are kept and used again. Use it within one event loop, and ``close`` it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._idle: list[Connection] = []
        self._trust = ssl.create_default_context() if settings.server.scheme == "https" else None
        self._wire = Wire(settings.server.host) if settings.server.in_process else None
        self._stamps = None
        if self._wire is None:
            load_parser()
            self._stamps = stamps_on()

    async def send(self, number: int, asked: Asked, scheduled_ns: int | None = None) -> Sample:
        """Send one request and wait for its end. A failure is a sample too, and never an exception.

        Without ``scheduled_ns`` it was meant to be sent when it was, as in a closed loop.
        """
        return (await self.trip(number, asked, scheduled_ns)).sample(self.settings.key)

    async def trip(self, number: int, asked: Asked, scheduled_ns: int | None = None) -> Trip:
        """Send one request, as ``send`` does, and return its reply too. The key may be in that."""
        request = self._line(asked) if self._wire else self._request(asked)
        trip = Trip(number, asked, scheduled_ns, time.monotonic_ns())
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await self._attempts(trip, request)
        except TimeoutError:
            trip.fail(f"no end within {self.settings.timeout_s:g} s", cut=True)
        return trip

    def close(self) -> None:
        """Drop all connections."""
        while self._idle:
            self._idle.pop().close()
        if self._stamps is not None:
            self._stamps.close()
        if self._wire is not None:
            self._wire.close()

    async def _attempts(self, trip: Trip, request: Request) -> None:
        for left in range(self.settings.retries, -1, -1):
            trip.attempts += 1
            reply = Reply(most_events=4 * trip.asked.output_tokens + MORE_EVENTS)
            trip.reply = reply
            try:
                if isinstance(request, bytes):
                    await self._exchange(trip, request, reply)
                elif self._wire is not None:
                    await self._wire.exchange(trip, request, reply)
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

    def _wait(self, attempt: int, reply: Reply) -> float:
        """Return the seconds before another attempt: what the server asks for, or twice as long each time."""
        asked = reply.headers.get("retry-after", "")
        wait = float(asked) if asked.isdecimal() else self.settings.backoff_s * 2 ** (attempt - 1)
        return min(wait, LONGEST_WAIT_S)

    async def _exchange(self, trip: Trip, request: bytes, reply: Reply) -> None:
        """Send over a kept connection, or over a new one if the server has closed that meanwhile."""
        for _turn in range(0 if self.settings.resend else TURNS):
            await asyncio.sleep(0)  # hear what came while nobody listened: the end of a kept connection
        while self._idle:
            kept = self._idle.pop()
            if not kept.open:
                kept.close()
                continue
            trip.connected = True
            trip.begins()
            try:
                await self._ask(kept, request, reply)
            except Lost:
                if kept.heard or not self.settings.resend:
                    raise
                trip.reconnects += 1
            else:
                return
        trip.begins()
        begun_ns = time.monotonic_ns()
        connection = await connect(self.settings.server, self._trust)
        trip.connect_ns += time.monotonic_ns() - begun_ns
        trip.connected = True
        await self._ask(connection, request, reply)

    async def _ask(self, connection: Connection, request: bytes, reply: Reply) -> None:
        with OnFailure(connection.close):
            await connection.ask(request, reply)
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def _line(self, asked: Asked) -> Mapping[str, object]:
        """Return a request to an engine in process."""
        how = self.settings
        return {
            "prompt": asked.prompt, "chat": how.api == "chat", "most": asked.output_tokens,
            "whole": bool(how.extra.get("ignore_eos")),
        }  # fmt: skip

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


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Limit the block, many requests that may each come just in time. Raises BenchError, which names it."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BenchError(f"{what} took more than {seconds:g} s, so the server is too slow for it") from None


async def fetch(
    server: Address, path: str, key: Secret | None, body: object = None, wait_s: float = 10,
    most_bytes: int = MOST_BODY,
) -> object:  # fmt: skip
    """Return the JSON at ``path`` (from the root), None if it holds none. Raises BenchError."""
    if server.in_process:
        return await _told(server, path, body, wait_s)
    found = await fetch_text(server, path, key, body, wait_s, most_bytes)
    try:
        value: object = json.loads(found)
    except (ValueError, RecursionError):
        return None
    return value


async def _told(server: Address, path: str, body: object, wait_s: float) -> object:
    """Return what an engine in process answers at ``path``. Raises BenchError."""
    try:
        async with asyncio.timeout(wait_s):
            return await ask(server.host, path, body)
    except TimeoutError:
        raise BenchError(f"{server.url}: no answer within {wait_s:g} s") from None
    except (BenchError, Lost) as bad:
        raise BenchError(f"{server.url}: {bad}") from None


async def fetch_text(
    server: Address, path: str, key: Secret | None, body: object = None, wait_s: float = 10,
    most_bytes: int = MOST_BODY,
) -> bytes:  # fmt: skip
    """Return what is at ``path`` (from the root). Raises BenchError unless it is there and not longer than
    ``most_bytes``."""
    if server.in_process:
        raise BenchError(f"{server.url}: it has no pages")
    reply = Reply(most_bytes)
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
    if reply.status != 200 or reply.encoding:
        raise BenchError(f"{server.url}: {without(key, reply.refusal())}")
    if reply.too_long:
        raise BenchError(f"{server.url}: a reply of more than {most_bytes} bytes")
    return reply.body
