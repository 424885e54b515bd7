"""Unpack a gzip file of somebody else, in a time that is bounded by its size and by what is read of it."""

from __future__ import annotations

import io
import os
import zlib
from typing import BinaryIO

from bench.formatting import MIB

_GZIP = 16 + zlib.MAX_WBITS  # zlib then checks the header and the checksum of gzip
_BLOCK_BYTES = 1 << 16


class CannotUnpack(Exception):
    """A gzip file is damaged, too large, or has more than its content; the message is a phrase."""


def unpacked(file: BinaryIO, most_bytes: int) -> BinaryIO:
    """Return a reader of the content of a gzip file of at most ``most_bytes``, which is as `gzip` writes it.

    Its ``read`` and ``readline`` raise CannotUnpack if the file is larger, is damaged, ends early, or goes on
    after its end. gzip allows further parts and any number of zeros there, and Python's own reader steps over
    them one by one: a file that is nearly all holes would keep it busy for hours.
    """
    return io.BufferedReader(_Unpacked(file, most_bytes))


class _Unpacked(io.RawIOBase):
    def __init__(self, file: BinaryIO, most_bytes: int) -> None:
        self._file, self._most_bytes = file, most_bytes
        self._decompressor = zlib.decompressobj(_GZIP)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if os.fstat(self._file.fileno()).st_size > self._most_bytes:
            raise CannotUnpack(f"is larger than {self._most_bytes // MIB} MiB")
        while not self._decompressor.eof:
            packed = self._decompressor.unconsumed_tail or self._file.read(_BLOCK_BYTES)
            try:
                found = self._decompressor.decompress(packed, len(buffer))
            except zlib.error as bad:
                raise CannotUnpack(str(bad)) from None
            if found:
                buffer[: len(found)] = found
                return len(found)
            if not packed:
                raise CannotUnpack("ends before its content does")
        if self._decompressor.unused_data or self._file.read(1):
            raise CannotUnpack("goes on after the end of its content")
        return 0
