"""What crosses the socket between the two halves of a model: frames whose size follows from their shapes.

A frame is a header of 16 bytes and a payload. Integers are little-endian.
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
NANOSECONDS = struct.Struct("<Q")  # at the head of a reply: the time that the cloud computed
ID_BYTES = 4
SCALE_BYTES = 4
MOST_PAYLOAD = 1 << 36
INT8_LARGEST, FLOAT8_LARGEST = 127.0, 448.0

Codec = Literal["as-they-are", "int8", "float8"]
CODECS: tuple[Codec, ...] = ("as-they-are", "int8", "float8")


class Op(IntEnum):
    """What the edge asks of the cloud; replies repeat it, or say FAILED."""

    BUILD = 1
    PROMPT = 2
    TOKEN = 3
    LOGITS = 4
    CACHE = 5
    HELD = 6
    FAILED = 7


class Gone(Exception):
    """The other process has closed its end."""


@dataclass(frozen=True)
class Frame:
    """One message. ``sequences`` and ``tokens`` are the shape of what the payload holds, if it has one."""

    op: Op
    payload: bytes = b""
    sequences: int = 0
    tokens: int = 0
    codec: Codec = "as-they-are"


def send(channel: socket.socket, frame: Frame) -> int:
    """Send one frame and return its bytes. Raises Gone."""
    size = len(frame.payload)
    head = HEADER.pack(frame.op, CODECS.index(frame.codec), frame.sequences, frame.tokens, size)
    try:
        channel.sendall(head + frame.payload)
    except OSError as bad:
        raise Gone(bad.strerror or type(bad).__name__) from None
    return HEADER.size + size


def receive(channel: socket.socket) -> Frame:
    """Wait for one frame. Raises Gone if the other side closes, ValueError for what is no frame."""
    head = bytearray(HEADER.size)
    fill(channel, memoryview(head))
    op, codec, sequences, tokens, size = HEADER.unpack(head)
    if size > MOST_PAYLOAD or codec >= len(CODECS):
        raise ValueError("not a frame of a split model")
    payload = bytearray(size)
    fill(channel, memoryview(payload))
    return Frame(Op(op), bytes(payload), sequences, tokens, CODECS[codec])


def fill(channel: socket.socket, room: memoryview) -> None:
    """Fill the whole buffer from the socket. Raises Gone if it ends before."""
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
    """Return the bytes of numbers of this shape; int8 and float8 have a float32 scale for each last row."""
    numbers = math.prod(shape)
    if codec == "as-they-are":
        return numbers * item_bytes
    return numbers + math.prod(shape[:-1]) * SCALE_BYTES


def pack(numbers: Any, codec: Codec) -> bytes:
    """Return a tensor as bytes, scales first. A scale is the row's largest magnitude over the codec's."""
    import torch

    if codec == "as-they-are":
        return _bytes(numbers)
    largest = INT8_LARGEST if codec == "int8" else FLOAT8_LARGEST
    scales = numbers.float().abs().amax(-1, keepdim=True).clamp(min=1e-30) / largest
    scaled = numbers.float() / scales
    small = scaled.round().to(torch.int8) if codec == "int8" else scaled.to(torch.float8_e4m3fn)
    return _bytes(scales) + _bytes(small)


def unpack(payload: bytes | memoryview, shape: Sequence[int], dtype: Any, codec: Codec) -> Any:
    """Return the tensor that ``pack`` wrote, on the CPU in ``dtype``; int8 and float8 come back rounded."""
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
    """Return the bytes of a contiguous tensor on the CPU, which can be read and written in place."""
    import torch

    return memoryview(tensor.detach().reshape(-1).view(torch.uint8).numpy())


def _bytes(tensor: Any) -> bytes:
    return view(tensor.detach().cpu().contiguous()).tobytes()


def _tensor(payload: bytes | memoryview, shape: Sequence[int], dtype: Any) -> Any:
    import torch

    return torch.frombuffer(bytearray(payload), dtype=dtype).reshape(tuple(shape))
