"""Read the numbers, names and texts of which the header of a GGUF file is made, with limits on lengths."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import BinaryIO

from bench.models import gguf_format as fmt

CUT = "the file is cut short: it ends within its header"


class HeaderBytes:
    """A place in a header. Every method raises ValueError for what cannot be, and for a file that ends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._letters = self._name_bytes = 0
        self._seen: set[str] = set()
        file.seek(0)

    def _numbers(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(form)
        content = self._file.read(size)
        if len(content) < size:
            raise ValueError(CUT)
        return struct.unpack(form, content)

    def _skip(self, size: int) -> None:
        if self._file.tell() + size > self._size:
            raise ValueError(CUT)
        self._file.seek(size, os.SEEK_CUR)

    def _new_name(self, what: str) -> str:
        """Read a name that none before it had: of two keys or tensors readers take one or the other."""
        (length,) = self._numbers("<Q")
        self._name_bytes += length
        if length > fmt.MAX_NAME_BYTES or self._name_bytes > fmt.MAX_NAMES_BYTES:
            raise ValueError(f"a name of {length} bytes in the header, or too many long ones")
        content = self._file.read(length)
        if len(content) < length:
            raise ValueError(CUT)
        name = content.decode(errors="replace")
        if not name.isprintable():  # C++ ends a name at its first NUL, and Python does not
            raise ValueError(f"the {what} {name[:60]!r} cannot be printed")
        if name in self._seen:
            raise ValueError(f"the {what} {name[:60]!r} occurs twice in the header")
        self._seen.add(name)
        return name

    def _number(self, key: str, kind: int, forms: Mapping[int, str], words: str) -> float:
        if kind not in forms:
            raise ValueError(f"the value of {key[:60]!r} is of type {kind}, not {words}")
        (value,) = self._numbers(f"<{forms[kind]}")
        return value

    def _length_of_text(self, key: str) -> int:
        (length,) = self._numbers("<Q")
        self._letters += length
        if length > fmt.MAX_TEXT_BYTES or self._letters > fmt.MAX_TEXTS_BYTES:
            self._skip(length)  # a file that is cut says so
            raise ValueError(f"the texts in the header are longer than any model's, up to {key[:60]!r}")
        return int(length)

    def _text(self, key: str) -> str:
        length = self._length_of_text(key)
        content = self._file.read(min(length, fmt.MAX_NAME_BYTES))
        self._skip(length - len(content))
        return content.decode(errors="replace")
