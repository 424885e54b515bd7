"""Small GGUF files, byte by byte."""

from __future__ import annotations

import struct


def text(value: str) -> bytes:
    """A string as the format has it."""
    return struct.pack("<Q", len(value)) + value.encode()


LLAMA = text("general.architecture") + struct.pack("<I", 8) + text("llama")
WORDS = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 1) + text("a")  # a vocabulary of one


def entry(name: str, size: int = 8, kind: int = 0, begin: int = 0) -> bytes:
    """A tensor of one dimension with ``size`` weights of type ``kind``, that lies at ``begin``."""
    return text(name) + struct.pack("<IQIQ", 1, size, kind, begin)


def gguf(
    pairs: bytes = b"", count: int = 0, *, data: int = 64, kind: int = 0, size: int = 8, version: int = 3,
    entries: tuple[bytes, ...] = (), about: bytes = LLAMA,
) -> bytes:  # fmt: skip
    """A file with one tensor of ``size`` weights of type ``kind``, or with ``entries``, and ``data`` bytes
    behind the header. ``about`` stands before the other pairs, and says what model it is."""
    held = entries or (entry("w", size, kind),)
    head = b"GGUF" + struct.pack("<IQQ", version, len(held), count + bool(about)) + about + pairs
    head += b"".join(held)
    return head + bytes(-len(head) % 32) + bytes(data)
