"""Send and receive frames between harness and worker: a 4-byte length, then JSON. Pickle is never used.

The channel is a Unix socket pair. A frame can therefore carry open file descriptors (the baton between two
workers, the shared block of logits), and no name appears in the file system. This file uses the standard
library only, because it also runs in the worker's interpreter.
"""

from __future__ import annotations

import json
import math
import socket
import struct
from collections.abc import Mapping, Sequence

from bench.records import plain

MAX_FRAME_BYTES = 64 * 1024 * 1024  # of a worker's answer
# Of a command: an evaluation text of 64 MiB, each letter of which takes up to six bytes of JSON.
MAX_COMMAND_BYTES = 8 * MAX_FRAME_BYTES
MAX_DESCRIPTORS = 4
_LENGTH = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent something that is not a frame of this protocol."""


class ChannelClosed(ProtocolError):
    """The other side closed the channel."""


def send(
    channel: socket.socket,
    message: Mapping[str, object],
    descriptors: Sequence[int] = (),
    most: int | None = None,
) -> None:
    """Write one frame of at most ``most`` bytes (by default ``MAX_FRAME_BYTES``); ``descriptors`` travel with
    its first bytes. Raises ChannelClosed, ProtocolError."""
    most = MAX_FRAME_BYTES if most is None else most
    body = json.dumps(message, allow_nan=False, separators=(",", ":"), default=plain).encode()
    if len(body) > most:
        raise ProtocolError(f"a message of {len(body)} bytes is over the limit of {most}")
    try:
        if descriptors:
            socket.send_fds(channel, [_LENGTH.pack(len(body))], list(descriptors))
        else:
            channel.sendall(_LENGTH.pack(len(body)))
        channel.sendall(body)
    except (BrokenPipeError, ConnectionResetError) as gone:
        raise ChannelClosed("the other side closed the channel") from gone


def receive(channel: socket.socket, most: int | None = None) -> tuple[dict[str, object], list[int]]:
    """Read one frame of at most ``most`` bytes and its descriptors; blocks until it arrives. Raises
    ChannelClosed, ProtocolError."""
    most = MAX_FRAME_BYTES if most is None else most
    header, descriptors = _header(channel)
    (size,) = _LENGTH.unpack(header)
    if size > most:
        raise ProtocolError(f"a frame claims {size} bytes, over the limit of {most}")
    try:
        message = json.loads(_exactly(channel, size), parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ProtocolError("a frame is nested too deeply") from None
    except ValueError as bad:
        raise ProtocolError(f"a frame is not JSON: {bad}") from bad
    if not isinstance(message, dict):
        raise ProtocolError(f"a frame holds a {type(message).__name__}, not an object")
    return message, descriptors


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def _header(channel: socket.socket) -> tuple[bytes, list[int]]:
    try:
        header, descriptors, _flags, _address = socket.recv_fds(channel, _LENGTH.size, MAX_DESCRIPTORS)
    except ConnectionResetError as gone:
        raise ChannelClosed("the other side closed the channel") from gone
    if not header:
        raise ChannelClosed("the other side closed the channel")
    return header + _exactly(channel, _LENGTH.size - len(header)), descriptors


def _exactly(channel: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes. Raises ChannelClosed if the stream ends earlier."""
    parts: list[bytes] = []
    while size:
        try:
            part = channel.recv(min(size, 1 << 20))
        except ConnectionResetError as gone:
            raise ChannelClosed("the other side closed the channel") from gone
        if not part:
            raise ChannelClosed("the channel closed in the middle of a frame")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
