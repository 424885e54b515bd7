"""Send and receive the frames that cross the socket between the two halves of a model.

A frame is a header of 16 bytes and a payload, whose size follows from its shape. Integers are little-endian.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

HEADER = struct.Struct("<BBHIQ")  # operation, codec, sequences, tokens, bytes of the payload
NANOSECONDS = struct.Struct("<Q")  # a reply begins with the time for which the cloud computed
ID_BYTES = 4
SCALE_BYTES = 4
MOST_PAYLOAD = 1 << 36
INT8_LARGEST, FLOAT8_LARGEST = 127.0, 448.0

Codec = Literal["as-they-are", "int8", "float8"]
CODECS: tuple[Codec, ...] = ("as-they-are", "int8", "float8")


class Op(IntEnum):
    """List what the edge asks of the cloud. A reply has the same operation, or FAILED."""

    BUILD = 1
    PROMPT = 2
    TOKEN = 3
    LOGITS = 4
    CACHE = 5
    HELD = 6
    FAILED = 7


class Gone(Exception):
    """Raised when the other process has closed its end of the connection."""


@dataclass(frozen=True)
class Frame:
    """Hold one message. ``sequences`` and ``tokens`` are the shape of the payload, if it has one."""

    op: Op
    payload: bytes = b""
    sequences: int = 0
    tokens: int = 0
    codec: Codec = "as-they-are"


def send(channel: socket.socket, frame: Frame) -> int:
    """Send one frame and return its size in bytes. Raises Gone if the connection is closed."""
    size = len(frame.payload)
    head = HEADER.pack(frame.op, CODECS.index(frame.codec), frame.sequences, frame.tokens, size)
    try:
        channel.sendall(head + frame.payload)
    except OSError as bad:
        raise Gone(bad.strerror or type(bad).__name__) from None
    return HEADER.size + size


def receive(channel: socket.socket) -> Frame:
    """Wait for one frame. Raises Gone if the connection is closed, ValueError if the data is not a frame."""
    head = bytearray(HEADER.size)
    fill(channel, memoryview(head))
    op, codec, sequences, tokens, size = HEADER.unpack(head)
    if size > MOST_PAYLOAD or codec >= len(CODECS):
        raise ValueError("not a frame of a split model")
    payload = bytearray(size)
    fill(channel, memoryview(payload))
    return Frame(Op(op), bytes(payload), sequences, tokens, CODECS[codec])


def fill(channel: socket.socket, room: memoryview) -> None:
    """Fill the whole buffer from the socket. Raises Gone if the connection is closed before."""
    while room:
        try:
            count = channel.recv_into(room)
        except OSError as bad:
            raise Gone(bad.strerror or type(bad).__name__) from None
        if not count:
            raise Gone("the connection was closed")
        room = room[count:]


# ---- numbers as bytes --------------------------------------------------------------------------------


def packed_bytes(shape: Sequence[int], item_bytes: int, codec: Codec) -> int:
    """Return the size in bytes of packed numbers; int8 and float8 add one float32 scale per last-axis row."""
    numbers = math.prod(shape)
    if codec == "as-they-are":
        return numbers * item_bytes
    return numbers + math.prod(shape[:-1]) * SCALE_BYTES


def pack(numbers: Any, codec: Codec) -> bytes:
    """Return a tensor as bytes, scales first.

    The scale of a row is its largest magnitude divided by the largest number of the codec.
    """
    import torch

    if codec == "as-they-are":
        return _bytes(numbers)
    largest = INT8_LARGEST if codec == "int8" else FLOAT8_LARGEST
    scales = numbers.float().abs().amax(-1, keepdim=True).clamp(min=1e-30) / largest
    scaled = numbers.float() / scales
    small = scaled.round().to(torch.int8) if codec == "int8" else scaled.to(torch.float8_e4m3fn)
    return _bytes(scales) + _bytes(small)


def unpack(payload: bytes | memoryview, shape: Sequence[int], dtype: Any, codec: Codec) -> Any:
    """Return the tensor that ``pack`` wrote, on the CPU in ``dtype``; int8 and float8 have rounded it."""
    import torch

    if codec == "as-they-are":
        return _tensor(payload, shape, dtype)
    scales_size = math.prod(shape[:-1]) * SCALE_BYTES
    scales = _tensor(payload[:scales_size], [*shape[:-1], 1], torch.float32)
    kind = torch.int8 if codec == "int8" else torch.float8_e4m3fn
    return (_tensor(payload[scales_size:], shape, kind).float() * scales).to(dtype)


def pack_ids(ids: Sequence[int]) -> bytes:
    """Return token ids, or other small numbers, as bytes."""
    return struct.pack(f"<{len(ids)}I", *ids)


def unpack_ids(payload: bytes) -> list[int]:
    """Return the numbers that ``pack_ids`` wrote."""
    return list(struct.unpack(f"<{len(payload) // ID_BYTES}I", payload))


def view(tensor: Any) -> memoryview:
    """Return the bytes of a contiguous tensor on the CPU as a view, to read and write them in place."""
    import torch

    return memoryview(tensor.detach().reshape(-1).view(torch.uint8).numpy())


def _bytes(tensor: Any) -> bytes:
    return view(tensor.detach().cpu().contiguous()).tobytes()


def _tensor(payload: bytes | memoryview, shape: Sequence[int], dtype: Any) -> Any:
    import torch

    return torch.frombuffer(bytearray(payload), dtype=dtype).reshape(tuple(shape))
