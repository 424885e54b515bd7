"""Read the numbers of a Parquet file; run as a program, read one of somebody else, with limits.

pyarrow takes the size of an unpacked page from the file, up to 2 GiB, and a file of which a single bit was
changed may end its process. So a reader starts this file as a child, which gets little memory and time, and
nothing of ours but the file on its standard input. It imports nothing of this package.
"""

from __future__ import annotations

import importlib
import json
import resource
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

COUNT = struct.Struct("<i")  # how many numbers follow: their digits, then their powers
DIGITS, POWER = ("digits", "q"), ("power", "i")  # a column, and how an array of it is kept
END, REFUSED = 0, -1  # in the place of a count; a reason follows the second
MEMORY_BYTES, CPU_S = 1 << 30, 120
MOST_REASON = 200  # bytes


@dataclass(frozen=True)
class Expected:
    """What the file of a compacted journal may have: columns with their types, and so many rows."""

    columns: Mapping[str, str]
    most_rows: int
    at_once: int


def numbers(data: bytes, expected: Expected) -> Iterator[tuple[array[int], array[int]]]:
    """Yield digits and powers, at most ``at_once`` at a time. Raises ValueError for any other file, and
    what pyarrow raises for one that it cannot read."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    with parquet.ParquetFile(arrow.BufferReader(data), pre_buffer=False) as file:
        if {field.name: str(field.type) for field in file.schema_arrow} != expected.columns:
            raise ValueError("has other columns than samples have")
        if file.metadata.num_rows > expected.most_rows:
            raise ValueError(f"has more than {expected.most_rows} numbers")
        names = [DIGITS[0], POWER[0]]
        for batch in file.iter_batches(expected.at_once, columns=names, use_threads=False):
            if batch.num_rows:
                digits, power = (batch.column(name).to_pylist() for name in names)
                yield array(DIGITS[1], digits), array(POWER[1], power)


def main() -> None:
    """Write the numbers of the file on standard input to standard output, or why there are none."""
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(limit, (most, most))
    out = sys.stdout.buffer
    sys.path += sys.argv[2:]  # last: where pyarrow lies, if not in this interpreter
    try:
        for digits, power in numbers(sys.stdin.buffer.read(), Expected(**json.loads(sys.argv[1]))):
            out.write(COUNT.pack(len(digits)) + digits.tobytes() + power.tobytes())
        out.write(COUNT.pack(END))
    except (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as bad:
        reason = (str(bad) or type(bad).__name__).encode(errors="replace")
        out.write(COUNT.pack(REFUSED) + reason[:MOST_REASON])


def request(expected: Expected) -> str:
    """Return the argument of this program."""
    return json.dumps(asdict(expected))


if __name__ == "__main__":
    main()
