"""Small GGUF files, byte by byte."""

from __future__ import annotations

import struct


def text(value: str) -> bytes:
    """A string as the format has it."""
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(
    pairs: bytes = b"", count: int = 0, *, data: int = 64, kind: int = 0, size: int = 8, version: int = 3
) -> bytes:
    """A file with one tensor of ``size`` weights of type ``kind``, and ``data`` bytes behind the header."""
    entry = text("w") + struct.pack("<IQIQ", 1, size, kind, 0)
    head = b"GGUF" + struct.pack("<IQQ", version, 1, count) + pairs + entry
    return head + bytes(-len(head) % 32) + bytes(data)
