"""Check the header of a GGUF file, and that its tensors are all in the file, before a library reads it.

The layout is that of GGUF versions 2 and 3: a magic word, counts, key-value pairs, tensor entries, and the
tensors behind them, aligned. Standard library only.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench.bounded import open_regular, why
from bench.errors import UsageError
from bench.formatting import printable
from bench.models.sizes import Weights, misfit

MAGIC = b"GGUF"
MAX_ENTRIES = 65_536  # tensors, and key-value pairs: a real model has hundreds
MAX_NAME_BYTES = 65_536
MAX_DIMENSIONS = 4
MAX_NESTED = 4
MAX_ITEMS = 2_000_000  # of all arrays of texts: the largest vocabulary has 262,144, and as many merges
MAX_SIZE = 2**63 - 1
ALIGNMENT = "general.alignment"
PART, PARTS = "split.no", "split.count"  # which part of a model the file is, counted from 0, and of how many
USUAL_ALIGNMENT = 32
STRING, ARRAY = 8, 9
# The bytes of each scalar type of a value, by its number.
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# (weights in a block, bytes of a block) of each tensor type, by its number (ggml.h).
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17),
}  # fmt: skip


# Sizes and settings of a model, by their keys without the architecture in front. One for each layer is an
# array.
WHOLE = frozenset({
    "block_count", "embedding_length", "feed_forward_length", "context_length", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "expert_count", "expert_used_count", "expert_feed_forward_length", "rope.dimension_count",
})  # fmt: skip
MAY_BE_0 = frozenset({"expert_count", "expert_used_count", "feed_forward_length", "rope.dimension_count"})
REAL = frozenset({"rope.freq_base", "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"})
WHOLE_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 10: "Q", 11: "q"}
REAL_FORMS = {6: "f", 12: "d"}
TOKENS = "tokenizer.ggml.tokens"
TEMPLATE = "tokenizer.chat_template"
MAX_WHOLE = 2**31 - 1  # what a library keeps in 32 bits


@dataclass(frozen=True)
class Found:
    """What a header says: the number of weights in the file, which part of a model the file is, and whether
    it has a chat template."""

    weights: int
    part: int = 1
    parts: int = 1
    chat_template: bool = False


def check_gguf(path: Path) -> int:
    """Refuse a file that is not GGUF version 2 or 3, whose header makes no sense, or that is cut short.

    So is one whose metadata are of a wrong type, or name sizes that its tensors do not have, and one part of
    a model in several. The time is linear in the header. Returns the number of its weights. Raises
    UsageError.
    """
    found = read_header(path)
    if found.parts > 1:
        raise UsageError(
            f"{path}: is part {found.part} of {found.parts} of a model, and a model is read from one file: "
            "merge the parts (llama-gguf-split --merge FIRST_PART OUT.gguf) and name that"
        )
    return found.weights


def read_header(path: Path) -> Found:
    """Check one file, which may be a part of a model, and return what it holds. Raises UsageError."""
    try:
        with open_regular(path) as file:
            return _Header(file).check()
    except OSError as bad:
        raise UsageError(f"{path}: {why(bad)}") from None
    except ValueError as bad:
        raise UsageError(f"{path}: {printable(str(bad))}") from None


class _Header:
    """A pass over a header. Every method raises ValueError for what cannot be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._alignment = USUAL_ALIGNMENT
        self._items = 0
        self._sizes: dict[str, int] = {}
        self._split: dict[str, int] = {}
        self._template = False
        self._names: list[str] = []
        self._weights = 0
        file.seek(0)

    def check(self) -> Found:
        if self._file.read(4) != MAGIC:
            raise ValueError("not a GGUF file (it does not begin with the letters GGUF)")
        version, tensors, pairs = self._numbers("<IQQ")
        if version not in (2, 3) or not 0 <= tensors <= MAX_ENTRIES or pairs > MAX_ENTRIES:
            raise ValueError(
                f"GGUF header not believable (version {version}, {tensors} tensors, {pairs} keys)"
            )
        for _ in range(pairs):
            self._pair()
        ends = list(self._ends(tensors))
        if not ends and self._split.get(PARTS, 1) < 2:
            raise ValueError("GGUF header not believable (no tensors)")
        start = -(-self._file.tell() // self._alignment) * self._alignment
        needed = start + max(ends, default=0)
        if needed > self._size:
            raise ValueError(
                f"the file is cut short: its tensors need {needed} bytes, and it has {self._size}"
            )
        part, parts = self._split.get(PART, 0) + 1, self._split.get(PARTS, 1)
        found = Found(self._weights, part, parts, self._template)
        fits = found.parts > 1 or misfit(self._sizes, Weights.of(self._names, self._weights))
        if isinstance(fits, str):
            raise ValueError(fits)
        return found

    def _numbers(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(form)
        content = self._file.read(size)
        if len(content) < size:
            raise ValueError("the file is cut short: it ends within its header")
        return struct.unpack(form, content)

    def _skip(self, size: int) -> None:
        if self._file.tell() + size > self._size:
            raise ValueError("the file is cut short: it ends within its header")
        self._file.seek(size, os.SEEK_CUR)

    def _name(self) -> str:
        (length,) = self._numbers("<Q")
        if length > MAX_NAME_BYTES:
            raise ValueError(f"a name of {length} bytes in the header")
        content = self._file.read(length)
        if len(content) < length:
            raise ValueError("the file is cut short: it ends within its header")
        return content.decode(errors="replace")

    def _pair(self) -> None:
        key = self._name()
        (kind,) = self._numbers("<I")
        if key == ALIGNMENT:
            (self._alignment,) = self._numbers("<I")
            if kind != 4 or not 0 < self._alignment <= MAX_ENTRIES:
                raise ValueError(f"{ALIGNMENT} is {self._alignment}")
            return
        if key in (PART, PARTS):
            self._split[key] = int(self._number(key, kind, WHOLE_FORMS, "a whole number"))
            return
        self._template |= key == TEMPLATE and kind == STRING
        setting = key.partition(".")[2]
        if setting in WHOLE and kind != ARRAY:
            value = self._number(key, kind, WHOLE_FORMS, "a whole number")
            if not (0 if setting in MAY_BE_0 else 1) <= value <= MAX_WHOLE:
                raise ValueError(f"{key[:60]!r} is {value}, which no model has")
            self._sizes[setting] = int(value)
        elif setting in REAL and kind != ARRAY:
            value = self._number(key, kind, REAL_FORMS, "a number with a fraction")
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{key[:60]!r} is {value}, not a number above 0")
        else:
            self._value(key, kind, 0)

    def _number(self, key: str, kind: int, forms: Mapping[int, str], words: str) -> float:
        if kind not in forms:
            raise ValueError(f"the value of {key[:60]!r} is of type {kind}, not {words}")
        (value,) = self._numbers(f"<{forms[kind]}")
        return value

    def _value(self, key: str, kind: int, depth: int) -> None:
        if kind in SCALARS:
            self._skip(SCALARS[kind])
        elif kind == STRING:
            (length,) = self._numbers("<Q")
            self._skip(length)
        elif kind == ARRAY and depth < MAX_NESTED:
            of, count = self._numbers("<IQ")
            if key == TOKENS:
                self._sizes.setdefault("vocab_size", count)
            if of in SCALARS:
                self._skip(SCALARS[of] * count)
                return
            self._items += count
            if self._items > MAX_ITEMS:
                raise ValueError(f"arrays of {self._items} texts in the header")
            for _ in range(count):
                self._value(key, of, depth + 1)
        else:
            raise ValueError(f"the value of {key[:60]!r} has an unknown type, {kind}")

    def _ends(self, tensors: int) -> Iterator[int]:
        """Yield where each tensor ends, counted from the first one; its start if its type is unknown."""
        for _ in range(tensors):
            name = self._name()
            (dimensions,) = self._numbers("<I")
            if not 0 < dimensions <= MAX_DIMENSIONS:
                raise ValueError(f"tensor {name[:60]!r} has {dimensions} dimensions")
            weights = 1
            for size in self._numbers(f"<{dimensions}Q"):
                weights *= size
            kind, begin = self._numbers("<IQ")
            block, size = BLOCKS.get(kind, (1, 0))
            if weights > MAX_SIZE or begin > MAX_SIZE or weights % block:
                raise ValueError(f"tensor {name[:60]!r} has sizes that cannot be")
            self._names.append(name)
            self._weights += weights
            yield begin + weights // block * size
