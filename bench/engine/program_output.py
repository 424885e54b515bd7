"""Read what a program writes on its standard output: parts, whole lines, all of it, or nothing in a time."""

from __future__ import annotations

import selectors
from time import monotonic
from typing import IO, Any

PART_BYTES = 1 << 16


def next_line(stream: IO[bytes], within_s: float, most: int) -> bytes:
    """Read until a program has written a line, closed its output, or written more than ``most`` bytes.

    Return all that it wrote. Raises TimeoutError if none of this happens within ``within_s``.
    """
    return _read(stream, within_s, most, b"\n")


def all_of(stream: IO[bytes], within_s: float, most: int) -> bytes:
    """Read until a program has closed its output, or written more than ``most`` bytes; return what it wrote.
    Raises TimeoutError if neither happens within ``within_s``."""
    return _read(stream, within_s, most)


def _read(stream: IO[bytes], within_s: float, most: int, end: bytes | None = None) -> bytes:
    until, said, part = monotonic() + within_s, bytearray(), b""
    while len(said) <= most and (end is None or end not in part):
        if not has_more(stream, until - monotonic()):
            raise TimeoutError
        part = read_part(stream)
        if not part:
            break
        said += part
    return bytes(said)


def read_part(stream: IO[bytes]) -> bytes:
    """Return what a program has written; nothing if it has closed its output."""
    buffered: Any = stream
    part: bytes = buffered.read1(PART_BYTES)
    return part


def has_more(stream: IO[bytes], within_s: float = 0.0) -> bool:
    """Wait until a program has written something, or has closed its output; return whether it has."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(max(within_s, 0.0)))
