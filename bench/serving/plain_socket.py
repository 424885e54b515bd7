"""Write to a TCP socket at once, and read it with the time at which the kernel received what is read.

An event loop with many streams reads each when its turn comes, so a time that is taken then holds the parsing
of the others. Linux notes the arrival of each segment (SO_TIMESTAMPNS, socket(7)) and gives that of the last
one that is read. Where it does not, and for a socket that another class reads (TLS), the time of the reading
is taken.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from bench.errors import OnFailure

READ_BYTES = 64 * 1024
_TIMESPEC = struct.Struct("@qq")  # seconds and nanoseconds of CLOCK_REALTIME
_NOTE_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_SO_TIMESTAMPNS = 35  # of asm-generic/socket.h; Python has no name for it
_KNOWN = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
_DONE = (0, errno.EISCONN)
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY)

Note = tuple[int, int, bytes]


class Receiver(Protocol):
    """Who reads a socket."""

    def received(self, at_ns: int, data: bytes) -> None:
        """Take bytes, and the monotonic time at which they came."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end: None if the other side, or ``abort``, closed it."""


def stamps_on() -> socket.socket | None:
    """Let the kernel note arrivals until the socket that is returned is closed; None where it cannot.

    It does so only while a socket wants it, and begins a moment after the first one asks.
    """
    if not _KNOWN:
        return None
    wanting = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    _ask_for_stamps(wanting)
    return wanting


def arrived_ns(notes: Sequence[Note], earliest_ns: int) -> int:
    """Return the monotonic time at which bytes came, from what the kernel noted with them; now without that.

    It notes the clock of the day, so their age is counted. If that clock was set meanwhile, it is now, too:
    nothing comes before ``earliest_ns``, when the socket was last used, and nothing in the future.
    """
    today_ns, now_ns = time.time_ns(), time.monotonic_ns()
    for level, kind, noted in notes:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(noted) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(noted)
            age_ns = today_ns - int(seconds * 10**9 + nanoseconds)
            if 0 <= age_ns <= now_ns - earliest_ns:
                return now_ns - age_ns
    return now_ns


class PlainSocket:
    """A connected socket without TLS, in the event loop that runs; of asyncio's transports it has what is
    needed here. ``write`` sends before it returns, not when the loop's turn is over."""

    def __init__(self, connected: socket.socket, receiver: Receiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket, self._receiver = connected, receiver
        self._number = connected.fileno()
        self._unsent = b""
        self._used_ns = time.monotonic_ns()
        self._closed = False
        self._loop.add_reader(self._number, self._readable)

    def is_closing(self) -> bool:
        """Return whether no request can be sent. What the loop has not come to yet counts: an end, and bytes
        that nobody asked for, which would be taken for the answer."""
        if self._closed:
            return True
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        return True

    def write(self, data: bytes) -> None:
        """Send bytes; what the kernel does not take now is sent when it can."""
        self._used_ns = time.monotonic_ns()
        if self._unsent or self._closed:
            self._unsent += data
            return
        if rest := self._sent(data):
            self._unsent = rest
            self._loop.add_writer(self._number, self._writable)

    def abort(self) -> None:
        """Close it at once."""
        self._end(None)

    def _sent(self, data: bytes) -> bytes:
        """Send what fits, and return the rest. A failure ends the connection."""
        try:
            return data[self._socket.send(data) :]
        except (BlockingIOError, InterruptedError):
            return data
        except OSError as bad:
            self._fail(bad)
            return b""

    def _writable(self) -> None:
        self._unsent = self._sent(self._unsent)
        if not self._unsent and not self._closed:
            self._loop.remove_writer(self._number)

    def _readable(self) -> None:
        """Read what came. uvloop does not look again at a socket that failed, so the failure is looked for
        now, too."""
        try:
            if not self._read():
                self._end(None)
            elif failed := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._fail(OSError(failed, os.strerror(failed)))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as bad:
            self._end(bad)

    def _read(self) -> bool:
        """Hand on what can be read at once; return whether there can be more. Raises OSError."""
        data, notes, _, _ = self._socket.recvmsg(READ_BYTES, _NOTE_BYTES)
        if data:
            self._used_ns = arrived_ns(notes, self._used_ns)
            self._receiver.received(self._used_ns, data)
        return bool(data) and not self._closed

    def _fail(self, bad: OSError) -> None:
        """End with a failure, after what came before it: a server may answer while it is sent to."""
        with suppress(OSError):
            while self._read():
                continue
        self._end(bad)

    def _end(self, bad: Exception | None) -> None:
        """Close the socket; its receiver hears of it in a turn of its own, as from asyncio's transports."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        self._socket.close()
        self._loop.call_soon(self._receiver.connection_lost, bad)


async def connected(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to one of the addresses of a host. Raises OSError."""
    loop, name = asyncio.get_running_loop(), host.encode("ascii")
    try:  # bytes, because a string would load the tables of IDNA in the first request
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    failed = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    for family, kind, protocol, _, place in found:
        try:
            return await _connected(socket.socket(family, kind, protocol), place)
        except OSError as bad:
            failed = bad
    raise failed


async def _connected(made: socket.socket, place: tuple[object, ...]) -> socket.socket:
    """Connect a socket. One to this machine is connected when the call returns: asking again says so, and the
    request need not wait until the loop has been round."""
    with OnFailure(made.close):
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _KNOWN:
            _ask_for_stamps(made)
        said = made.connect_ex(place)
        if said in _UNDER_WAY:
            said = made.connect_ex(place)
        if said in _UNDER_WAY:
            await asyncio.get_running_loop().sock_connect(made, place)
        elif said not in _DONE:
            raise OSError(said, os.strerror(said))
    return made


def _ask_for_stamps(of: socket.socket) -> None:
    try:
        of.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:  # a sandbox may refuse it: then the time of reading is taken
        return
