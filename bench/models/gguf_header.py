"""Check the header of a GGUF file, and that its tensors are all in the file, before a library reads it.

The layout is that of GGUF versions 2 and 3: a magic word, counts, key-value pairs, tensor entries, and the
tensors behind them, aligned. Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench.bounded import must_be_on_the_disk, open_regular, why
from bench.errors import UsageError
from bench.formatting import printable
from bench.models import gguf_format as fmt
from bench.models.gguf_bytes import HeaderBytes
from bench.models.gguf_vocabulary import TOKENS, Vocabulary
from bench.models.sizes import Weights, misfit


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file: its number of weights, which part of a model it is, the model's
    architecture (empty in a later part), the keys of its tokenizer, and which tensor is of a type that is
    not known here (a newer one, or none)."""

    weights: int
    part: int = 1
    parts: int = 1
    architecture: str = ""
    tokenizer: frozenset[str] = frozenset()
    unknown: str = ""

    @property
    def chat_template(self) -> bool:
        """Return whether the file has a chat template."""
        return fmt.TEMPLATE in self.tokenizer


def check_gguf(path: Path, *, to_convert: bool = False) -> int:
    """Return the number of weights in a GGUF file, in time linear in its header.

    Raises UsageError for a file that is not GGUF version 2 or 3, that is cut short, or whose header makes no
    sense: metadata of a wrong type, or sizes that its tensors do not have. A file that is one part of several
    is refused too, and so is one with tensors of an unknown type if it is ``to_convert`` for engines other
    than llama.cpp.
    """
    header = read_header(path)
    if header.parts > 1:
        raise UsageError(
            f"{path}: is part {header.part} of {header.parts} of a model, and a model is read from one file: "
            "merge the parts (llama-gguf-split --merge FIRST_PART OUT.gguf) and name that"
        )
    if to_convert and header.unknown:
        raise UsageError(f"{path}: {header.unknown}, which is unknown here, so it cannot be converted")
    return header.weights


def read_header(path: Path) -> Header:
    """Check one file, which may be a part of a model, and return what it holds. Raises UsageError."""
    try:
        with open_regular(path) as file:
            found = _Header(file).check()
        must_be_on_the_disk(path)
    except OSError as bad:
        raise UsageError(f"{path}: {why(bad)}") from None
    except ValueError as bad:
        raise UsageError(f"{path}: {printable(str(bad))}") from None
    return found


class _Header(HeaderBytes):
    """A pass over a header. Every method raises ValueError for what cannot be."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._alignment = fmt.USUAL_ALIGNMENT
        self._items = self._numbers_held = 0
        self._sizes: dict[str, int] = {}
        self._split: dict[str, int] = {}
        self._weights, self._unknown, self._architecture = 0, "", ""
        self._vocabulary = Vocabulary()

    def check(self) -> Header:
        if self._file.read(4) != fmt.MAGIC:
            raise ValueError("not a GGUF file (it does not begin with the letters GGUF)")
        version, tensors, pairs = self._numbers("<IQQ")
        if version not in (2, 3) or tensors > fmt.MAX_ENTRIES or pairs > fmt.MAX_ENTRIES:
            raise ValueError(
                f"GGUF header not believable (version {version}, {tensors} tensors, {pairs} keys)"
            )
        for _ in range(pairs):
            self._pair()
        keys, self._seen, self._name_bytes = self._seen, set(), 0
        places = sorted(self._tensor() for _ in range(tensors))
        part, parts = self._split.get(fmt.PART, 0) + 1, self._split.get(fmt.PARTS, 1)
        if parts < 2:
            self._must_be_a_model(keys)
        self._must_have_room(places)
        self._vocabulary.must_fit(self._sizes.get("vocab_size"))
        tokenizer = frozenset(key for key in keys if key.startswith(fmt.TOKENIZER))
        return Header(self._weights, part, parts, self._architecture, tokenizer, self._unknown)

    def _must_be_a_model(self, keys: set[str]) -> None:
        if not self._seen:
            raise ValueError("GGUF header not believable (no tensors)")
        if fmt.ARCHITECTURE not in keys:
            raise ValueError(f"has no {fmt.ARCHITECTURE}, so nobody can know what model it is")
        if said := misfit(self._sizes, Weights.of(self._seen, self._weights)):
            raise ValueError(said)

    def _must_have_room(self, places: list[tuple[int, int, str]]) -> None:
        """Refuse tensors beyond the end of the file, and two in the same place: they would be more weights
        than the file has bytes for."""
        start = -(-self._file.tell() // self._alignment) * self._alignment
        place = 0
        for begin, end, name in places:
            if begin < place:
                raise ValueError(f"tensor {name[:60]!r} lies where another one does")
            place = end
        if start + place > self._size:
            raise ValueError(
                f"the file is cut short: its tensors need {start + place} bytes, and it has {self._size}"
            )

    def _pair(self) -> None:
        key = self._new_name("key")
        (kind,) = self._numbers("<I")
        setting = key.partition(".")[2]
        self._vocabulary.value(key, kind)
        if key == fmt.ALIGNMENT:
            (self._alignment,) = self._numbers("<I")
            power = self._alignment.bit_count() == 1
            if kind != 4 or not power or self._alignment > fmt.MAX_ENTRIES:
                raise ValueError(f"{key} is {self._alignment}, not a power of 2")
        elif key in (fmt.PART, fmt.PARTS):
            self._split[key] = int(self._number(key, kind, fmt.WHOLE_FORMS, "a whole number"))
        elif key in (fmt.ARCHITECTURE, fmt.TEMPLATE) and kind != fmt.STRING:
            raise ValueError(f"the value of {key!r} is of type {kind}, not a text")
        elif key == fmt.ARCHITECTURE:
            self._architecture = self._text(key)
        elif setting in fmt.WHOLE:
            self._size_of_model(key, setting, kind)
        elif setting in fmt.REAL and kind != fmt.ARRAY:
            value = self._number(key, kind, fmt.REAL_FORMS, "a number with a fraction")
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{key[:60]!r} is {value}, not a number above 0")
        else:
            self._value(key, kind)

    def _size_of_model(self, key: str, setting: str, kind: int) -> None:
        """Read a size, or an array with one for each layer; readers take an array of one for the number."""
        if kind == fmt.ARRAY:
            kind, count = self._numbers("<IQ")
            if count != 1:
                return self._array(key, kind, count)
        value = int(self._number(key, kind, fmt.WHOLE_FORMS, "a whole number"))
        if not (0 if setting in fmt.MAY_BE_0 else 1) <= value <= fmt.MAX_WHOLE:
            raise ValueError(f"{key[:60]!r} is {value}, which no model has")
        self._sizes[setting] = max(value, self._sizes.get(setting, 0))  # two architectures may name it
        return None

    def _value(self, key: str, kind: int, *, in_array: bool = False) -> None:
        if kind in fmt.SCALARS:
            self._skip(fmt.SCALARS[kind])
        elif kind == fmt.STRING:
            self._skip(self._length_of_text(key))
        elif kind == fmt.ARRAY and in_array:
            raise ValueError(f"the array {key[:60]!r} holds arrays, which llama.cpp does not read")
        elif kind == fmt.ARRAY:
            self._array(key, *self._numbers("<IQ"))
        else:
            raise ValueError(f"the value of {key[:60]!r} has an unknown type, {kind}")

    def _array(self, key: str, of: int, count: int) -> None:
        self._vocabulary.array(key, of, count)
        if key == TOKENS:
            self._sizes.setdefault("vocab_size", count)
        if of in fmt.SCALARS:
            self._skip(fmt.SCALARS[of] * count)
            self._numbers_held += count
            if self._numbers_held > fmt.MAX_NUMBERS:
                raise ValueError(f"arrays of {self._numbers_held} numbers in the header")
            return
        self._items += count
        if self._items > fmt.MAX_ITEMS:
            raise ValueError(f"arrays of {self._items} texts in the header")
        for _ in range(count):
            self._value(key, of, in_array=True)

    def _tensor(self) -> tuple[int, int, str]:
        """Return where a tensor begins and ends, counted from the first one, and its name."""
        name = self._new_name("tensor")
        (dimensions,) = self._numbers("<I")
        if not 0 < dimensions <= fmt.MAX_DIMENSIONS:
            raise ValueError(f"tensor {name[:60]!r} has {dimensions} dimensions")
        shape = self._numbers(f"<{dimensions}Q")
        weights = math.prod(shape)
        self._vocabulary.tensor(name, shape)
        kind, begin = self._numbers("<IQ")
        block, size = fmt.BLOCKS.get(kind, fmt.UNKNOWN)
        uneven = kind in fmt.BLOCKS and shape[0] % block  # a row is packed by itself
        if kind not in fmt.BLOCKS:
            self._unknown = self._unknown or f"tensor {name[:60]!r} is of type {kind}"
        if not 0 < weights <= fmt.MAX_SIZE or begin > fmt.MAX_SIZE or uneven:
            raise ValueError(f"tensor {name[:60]!r} has sizes that cannot be")
        self._weights += weights
        return begin, begin + -(-weights // block) * size, name
