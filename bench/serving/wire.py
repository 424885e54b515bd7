"""Ask an engine in process: lines of JSON over a Unix socket, whose other side is ``bench/serving/inside``.

The times of a reply are those of the engine's process, which has the same monotonic clock: the end of each
step that made a token for the request. When these lines are read changes nothing of them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import socket
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from bench.errors import BenchError, OnFailure
from bench.formatting import one_line
from bench.serving.connection import Lost
from bench.serving.plain_socket import PlainSocket
from bench.serving.reply import Reply, Trip
from bench.serving.sse import BadStream
from bench.serving.stream_events import Event
from bench.serving.tokens import Arrival

MOST_LINE = 64 * 1024 * 1024
REFUSED = 400  # as a server says that a request is one that it does not take
GONE = "the process of the engine closed its side"


def new_place() -> str:
    """Return an address that nobody has: of the abstract namespace, so that nothing is left on the disk."""
    return f"bench-{secrets.token_hex(16)}"


class Wire:
    """One connection to an engine, within one event loop; it is opened for the first request."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._socket: PlainSocket | None = None
        self._come = bytearray()

    async def exchange(self, trip: Trip, request: Mapping[str, object], reply: Reply) -> None:
        """Send a request and take the reply into ``reply``. Raises Lost and BadStream."""
        connection, number = self._connected(), next(self._numbers)
        trip.connected = True
        line = _line({"id": number, **request})
        trip.begins()
        try:
            _take(await self._said(number, line), reply)
        except asyncio.CancelledError:
            connection.write(_line({"cancel": number}))
            raise

    async def ask(self, path: str, body: object) -> object:
        """Return what the engine answers at a path. Raises Lost if it is not there, BenchError if it
        refuses."""
        said = await self._said(-1, _line({"id": -1, "ask": path, "body": body}))
        if "answer" not in said:
            raise BenchError(one_line(str(said.get("error", "no answer"))))
        return said["answer"]

    def close(self) -> None:
        """Close the connection; the engine then drops what it has not ended."""
        if self._socket is not None:
            self._socket.abort()

    async def _said(self, number: int, line: bytes) -> Mapping[str, Any]:
        """Send a line, and return the one that answers it. Raises Lost."""
        done: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = done
        try:
            self._connected().write(line)
            return await done
        finally:
            del self._waiting[number]

    def _connected(self) -> PlainSocket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX)
            with OnFailure(made.close):
                try:
                    made.connect(f"\0{self._place}")  # waits for nobody
                except OSError:
                    raise Lost("no process of the engine listens") from None
                made.setblocking(False)
                self._socket = PlainSocket(made, self)
        return self._socket

    def received(self, at_ns: int, data: bytes) -> None:
        """Take bytes, and hand each line that is whole to the request that waits for it."""
        begin = len(self._come)
        self._come += data
        while (end := self._come.find(b"\n", begin)) >= 0:
            line, self._come, begin = bytes(self._come[:end]), self._come[end + 1 :], 0
            self._hand(line)
        if len(self._come) > MOST_LINE:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait any more."""
        self._socket = None
        for done in self._waiting.values():
            if not done.done():
                done.set_exception(Lost(GONE))

    def _hand(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return self.close()
        number = said.get("id") if isinstance(said, dict) else None
        done = self._waiting.get(number) if isinstance(number, int) else None
        if done is not None and not done.done():
            done.set_result(said)
        return None


async def ask(place: str, path: str, body: object) -> object:
    """Return what the engine answers at a path, over a connection of its own, as ``Wire.ask`` does."""
    wire = Wire(place)
    try:
        return await wire.ask(path, body)
    finally:
        wire.close()


def _line(said: Mapping[str, object]) -> bytes:
    return json.dumps(said, allow_nan=False).encode() + b"\n"


def _take(said: Mapping[str, Any], reply: Reply) -> None:
    """Take what an engine says of a request into a reply. Raises BadStream or Lost if it failed."""
    times, tokens = _numbers(said.get("times_ns", [])), _numbers(said.get("tokens", []))
    ended, n_in, n_out = said.get("ended_ns", 0), said.get("n_in", 0), said.get("n_out", 0)
    if len(times) != len(tokens) or any(b < a for a, b in pairwise((*times, *_numbers([ended])))):
        raise BadStream("the engine told times that do not fit together")
    text = str(said.get("text", ""))
    last = len(times) - 1
    for place, (at_ns, count) in enumerate(zip(times, tokens, strict=True)):
        reply.arrivals.append(Arrival(at_ns, Event(text if place == last else "", ids=count)))
    if "failed" in said:
        reply.status = REFUSED if said.get("refused") else None
        raise (Lost if times else BadStream)(one_line(str(said["failed"])))
    _numbers([n_in, n_out])
    reply.usage = n_in, n_out
    cached = said.get("cached")
    reply.cached = None if cached is None else _numbers([cached])[0]
    reply.finish, reply.done, reply.direct = str(said.get("finish")), True, True
    reply.ends(ended)


def _numbers(found: Any) -> list[int]:
    if not isinstance(found, list) or any(type(one) is not int or not 0 <= one < 10**18 for one in found):
        raise BadStream("the engine told what is no list of numbers")
    return found
