"""Read the header of a safetensors file before anything loads it. Standard library only."""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from bench.bounded import must_be_modest, must_be_on_the_disk, open_regular, why
from bench.errors import UsageError
from bench.formatting import MIB, printable

# 24 MiB hold the names of 150,000 tensors: Kimi K2 has 140,000, in 61 files.
SAFETENSORS_HEADER_MAX_BYTES = 24 * MIB
MAX_TENSORS = 150_000
LENGTH_BYTES = 8  # in which a file says how long its header is
MAX_DIMENSIONS = 16  # the product of more sizes is a number of any length, and slow to make
MAX_SIZE = 2**63 - 1
ELEMENT_BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a safetensors file: the name of its dtype, its shape, and the range of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def header_bytes(path: Path) -> int:
    """Return how long a file says that its header is, up to what is read of one. Raises UsageError."""
    try:
        with open_regular(path) as file:
            (length,) = struct.unpack("<Q", file.read(LENGTH_BYTES).ljust(LENGTH_BYTES, b"\0"))
    except OSError as bad:
        raise UsageError(f"{path}: {why(bad)}") from None
    return min(int(length), SAFETENSORS_HEADER_MAX_BYTES)


def safetensors_header(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors of a safetensors file by name. Their byte ranges must cover the file exactly.

    Raises UsageError for a header that is too long or not JSON, and for ranges that overlap, leave gaps or
    exceed the file.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size < LENGTH_BYTES:
                raise ValueError(f"it has {size} bytes, too few for a header")
            (length,) = struct.unpack("<Q", file.read(LENGTH_BYTES))
            if length > SAFETENSORS_HEADER_MAX_BYTES or LENGTH_BYTES + length > size:
                raise ValueError(f"header length {length} does not fit the file")
            text = file.read(length)
            must_be_modest(text)
            header = json.loads(text.decode(), object_pairs_hook=_unique)
        if not isinstance(header, dict):
            raise ValueError("header is not an object")
        if len(header) > MAX_TENSORS:
            raise ValueError(f"{len(header)} tensors in one file")
        about = header.pop("__metadata__", {})
        if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
            raise ValueError("__metadata__ is no map from text to text")
        tensors = {name: _entry(name, value) for name, value in header.items()}
        place = 0
        for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
            if tensor.begin != place:
                raise ValueError(f"tensor {name[:60]!r} overlaps another or leaves a gap")
            place = tensor.end
        if LENGTH_BYTES + length + place != size:
            raise ValueError("tensors do not end where the file ends")
        must_be_on_the_disk(path)
    except OSError as e:
        raise UsageError(f"{path}: {why(e)}") from None
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{path}: not a sound safetensors file: {printable(str(e))[:200]}") from None
    return tensors


def _entry(name: str, value: object) -> TensorEntry:
    """Return one header entry. Raises ValueError unless its byte range has the size of shape × dtype."""
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {name[:60]!r} is not {{dtype, shape, data_offsets}}")
    if not name.isprintable():  # half of a surrogate pair, of which libraries speak in their own words, too
        raise ValueError(f"tensor {printable(name[:60])!r} has a name that cannot be printed")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    lists = isinstance(shape, list) and isinstance(offsets, list) and len(shape) <= MAX_DIMENSIONS
    numbers = (*shape, *offsets) if lists else (-1,)
    if any(type(n) is not int or not 0 <= n <= MAX_SIZE for n in numbers) or len(offsets) != 2:
        raise ValueError(f"tensor {name[:60]!r} has a bad shape or bad offsets")
    bits = ELEMENT_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None or (offsets[1] - offsets[0]) * 8 != math.prod(shape) * bits:
        raise ValueError(f"tensor {name[:60]!r}: byte range does not fit its dtype and shape")
    return TensorEntry(str(dtype), tuple(shape), offsets[0], offsets[1])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object. Raises ValueError if a key occurs twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found
