"""Open one connection to a server (HTTP/1.1), and give each part of a reply the time at which it came.

httptools (the parser of Node.js) reads the protocol. docs/decisions/0018 has the figures of the choice.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import time
from typing import TYPE_CHECKING, Protocol, cast

from bench.errors import BenchError
from bench.formatting import MIB
from bench.serving.address import Address
from bench.serving.plain_socket import PlainSocket, connected

if TYPE_CHECKING:
    import httptools

MOST_HEADER_BYTES = 64 * 1024
MOST_REPLY_BYTES = 256 * MIB


class Lost(Exception):
    """The connection ended before the reply did; the text says how, for people."""


class Listener(Protocol):
    """Who gets a reply: its status and headers, then its body, then (once) that it is complete.

    All times are of the monotonic clock, and those of the bytes: whoever listens may be called later.
    """

    def begins(self, status: int, headers: dict[str, str]) -> None:
        """Take the head of the reply."""

    def receives(self, at_ns: int, data: bytes) -> None:
        """Take bytes of the body, and the time at which they came."""

    def ends(self, at_ns: int) -> None:
        """Take the time at which the last bytes came."""


class Wire(Protocol):
    """What is needed of a socket: `PlainSocket`, or a transport of asyncio with TLS in it."""

    def is_closing(self) -> bool:
        """Return whether nothing can be sent any more."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def abort(self) -> None:
        """Close it at once."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time, and any number one after the other."""

    def __init__(self) -> None:
        self._transport: Wire | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._listener: Listener | None = None
        self._done: asyncio.Future[None] | None = None
        self._headers: dict[str, str] = {}
        self._header_bytes = self._reply_bytes = self._around_bytes = 0
        self._at_ns = 0
        self.heard = False
        self.reusable = False
        self._until_close = False  # the reply ends where the connection does
        self._unasked = False  # bytes came that belong to no request, so it was closed here

    @property
    def open(self) -> bool:
        """Return whether a request can be sent: neither side has closed it, as far as is known here."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, listener: Listener) -> None:
        """Send ``request`` and wait for the whole reply. Raises Lost, and what ``listener`` raises."""
        self.heard = self.reusable = self._until_close = False
        if self._transport is None or not self.open:
            sent = "the server sent bytes before it was asked, or after the end of a reply"
            raise Lost(sent if self._unasked else "the server closed the connection before it answered")
        self._parser = _parser(self)
        self._listener, self._headers = listener, {}
        self._header_bytes = self._reply_bytes = self._around_bytes = 0
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._done

    def close(self) -> None:
        """Drop the connection at once."""
        self._listener = None
        if self._transport is not None:
            self._transport.abort()

    def over(self, wire: Wire) -> None:
        """Use this socket from now on."""
        self._transport = wire

    # ---- what a socket calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket's transport."""
        self.over(cast("asyncio.Transport", transport))  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """Take the time first, then look at what came: TLS hides the kernel's time."""
        self.received(time.monotonic_ns(), data)

    def received(self, at_ns: int, data: bytes) -> None:
        """Look at what came at a time."""
        self._at_ns, self.heard = at_ns, True
        if self._parser is None or self._listener is None:
            self._unasked = True
            self.close()
            return
        self._reply_bytes += len(data)
        try:
            if self._reply_bytes > MOST_REPLY_BYTES:
                raise Lost(f"a reply of more than {MOST_REPLY_BYTES // MIB} MiB")
            if self._around_bytes > MOST_HEADER_BYTES:  # a line without an end is seen here alone
                raise Lost("headers of more than 64 KiB")
            self._around_bytes += len(data)
            self._parser.feed_data(data)
        except Lost as bad:
            self._end(bad)
        except _parser_errors() as bad:
            cause = bad.__context__  # httptools wraps what a callback raises
            self._end(cause if isinstance(cause, Lost | ValueError) else Lost("the reply is not HTTP/1.1"))

    def eof_received(self) -> None:
        """Do nothing: the server will send no more, and the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request that runs, if one does."""
        self.reusable = False
        if exc is None and self._until_close:
            self._complete(time.monotonic_ns())
        at = "" if self.heard else " before it answered"
        self._end(Lost(f"the connection was reset{at}" if exc else f"the server closed the connection{at}"))

    # ---- what httptools calls ----

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MOST_HEADER_BYTES:
            raise Lost("headers of more than 64 KiB")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Tell the listener the status; a provisional one (100 Continue, 103 Early Hints) is no reply yet."""
        if self._provisional:
            return
        self._around_bytes = 0
        self._until_close = not {"content-length", "transfer-encoding"} & self._headers.keys()
        if self._listener is not None and self._parser is not None:
            self._listener.begins(self._parser.get_status_code(), self._headers)

    def on_body(self, body: bytes) -> None:
        """Give the listener bytes of the body, with the time at which they were read."""
        self._around_bytes = 0
        if self._listener is not None:
            self._listener.receives(self._at_ns, body)

    def on_message_complete(self) -> None:
        """End the request with its whole reply, unless it was a provisional one."""
        if self._provisional:
            self._headers = {}
            return
        if self._parser is not None:
            self.reusable = self._parser.should_keep_alive()
        self._complete(self._at_ns)

    @property
    def _provisional(self) -> bool:
        return self._parser is not None and 100 <= self._parser.get_status_code() < 200

    def _complete(self, at_ns: int) -> None:
        if self._listener is not None:
            self._listener.ends(at_ns)
        self._end(None)

    def _end(self, bad: BaseException | None) -> None:
        done, self._done, self._listener = self._done, None, None
        if bad is not None and self._transport is not None:
            self._transport.abort()
        if done is not None and not done.done():
            if bad is None:
                done.set_result(None)
            else:
                done.set_exception(bad)


async def connect(server: Address, trust: ssl.SSLContext | None) -> Connection:
    """Open a connection. Raises Lost if nobody answers, or if the server's certificate is not trusted."""
    loop = asyncio.get_running_loop()
    try:
        if trust is None:
            connection = Connection()
            connection.over(PlainSocket(await connected(server.host, server.port), connection))
            return connection
        _, connection = await loop.create_connection(
            Connection, server.host, server.port, ssl=trust, server_hostname=server.host
        )
    except ssl.SSLCertVerificationError as bad:
        raise Lost(f"the certificate of {server.host} is not trusted ({bad.verify_message})") from None
    except OSError as bad:
        raise Lost(f"no connection to {server.netloc} ({_why(bad)})") from None
    return connection


def _why(bad: OSError) -> str:
    return "refused" if isinstance(bad, ConnectionRefusedError) else bad.strerror or type(bad).__name__


def must_be_installed() -> None:
    """Raise BenchError if the parser is missing."""
    if importlib.util.find_spec("httptools") is None:
        raise BenchError("the client of servers needs httptools: pip install 'inference-cost-bench[serving]'")


def load_parser() -> None:
    """Load the parser now: that takes a millisecond, and the first request would seem slower by it."""
    must_be_installed()
    importlib.import_module("httptools")


def _parser(connection: Connection) -> httptools.HttpResponseParser:
    import httptools

    return httptools.HttpResponseParser(connection)


def _parser_errors() -> tuple[type[Exception], ...]:
    import httptools

    return httptools.HttpParserError, httptools.HttpParserUpgrade
