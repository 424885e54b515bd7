"""Read a compacted journal: frames of its lines in ``journal.rest.gz``, their numbers in ``samples.parquet``.

The first line of the frames says what the journal was: how many lines and bytes it had, the digest of its
last line, and the digest of the Parquet file. ``line_numbers.py`` says what a frame is. ``compaction.py``
writes both files.
"""

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bench.bounded import read_bounded, why
from bench.errors import UsageError
from bench.formatting import MIB, one_line
from bench.store import parquet_pages
from bench.store.chain import BEGINNING, MAX_BYTES, MAX_LINE_BYTES, MOST_IN_ALL
from bench.store.files import canonical_json, strict_json
from bench.store.line_numbers import CannotRebuild, line_of
from bench.store.packed import CannotUnpack

MISSING = "needs pyarrow: pip install 'inference-cost-bench[parquet]'"
MOST_HEAD_BYTES = 4096
MOST_NUMBERS = MOST_IN_ALL.values + MOST_IN_ALL.containers
AT_ONCE = 1 << 16  # rows that are unpacked at a time
DIGITS, POWER = "digits", "power"
# A row is a number: the record it is of (1 is the first), what that is about, where in it the number is, and
# its value, which is the digits times ten to the power.
COLUMNS = {
    "record": "int32", "kind": "string", "group": "string", "row": "string", "path": "string",
    DIGITS: "int64", POWER: "int32",
}  # fmt: skip
_OURS = "parquet-cpp-arrow"


@dataclass(frozen=True)
class Head:
    """What a compacted journal was, and which Parquet file has its numbers."""

    lines: int
    journal_bytes: int
    journal_sha256: str
    samples_sha256: str

    def line(self) -> bytes:
        """Return the first line of the frames."""
        return canonical_json(asdict(self)).encode() + b"\n"


def rebuilt(frames: BinaryIO, samples: Path) -> BinaryIO:
    """Return a reader of the journal whose frames and numbers these are, byte for byte as it was.

    Its ``read`` and ``readline`` raise CannotUnpack, also for a Parquet file that is torn or was changed, and
    UsageError without pyarrow.
    """
    return io.BufferedReader(_Rebuilt(_lines(frames, samples)))


def head_of(frames: BinaryIO, samples: Path) -> Head:
    """Read what a compacted journal was, without its numbers, for which nothing is needed but the digest of
    their file. Raises CannotUnpack if a file is damaged or they do not belong together."""
    head = _head(frames)
    _samples(samples, head)
    while frames.read(1 << 16):  # to its end, where gzip keeps its checksum
        pass
    return head


class _Rebuilt(io.RawIOBase):
    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines, self._rest = lines, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or memoryview(next(self._lines, b""))
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def _lines(frames: BinaryIO, samples: Path) -> Iterator[bytes]:
    head = _head(frames)
    numbers = iter(_Numbers(_samples(samples, head), samples))
    digest, size, count = BEGINNING.digest, 0, 0
    while frame := frames.readline(MAX_LINE_BYTES):
        try:
            line = line_of(frame, digest, numbers)
        except CannotRebuild as bad:
            raise CannotUnpack(f"{samples.name} {bad}") from None
        digest, size, count = (
            hashlib.sha256(line.removesuffix(b"\n")).hexdigest(),
            size + len(line),
            count + 1,
        )
        yield line
    if next(numbers, None) is not None:
        raise CannotUnpack(f"{samples.name} has more numbers than its journal")
    if (count, size, digest) != (head.lines, head.journal_bytes, head.journal_sha256):
        raise CannotUnpack("frames and numbers do not make the journal that was compacted")


def _head(frames: BinaryIO) -> Head:
    line = frames.readline(MOST_HEAD_BYTES)
    try:
        found = strict_json(line)
        head = Head(**found) if isinstance(found, dict) else None
    except (TypeError, ValueError):
        head = None
    if head is None or not isinstance(head.journal_sha256, str):
        raise CannotUnpack("does not begin with what the journal was")
    return head


def _samples(path: Path, head: Head) -> bytes:
    """Return the Parquet file of a journal, whose bytes must be those that were written."""
    try:
        data = read_bounded(path, MAX_BYTES, follow=False)
    except OSError as bad:
        raise CannotUnpack(f"{path.name} {why(bad)}") from None
    if hashlib.sha256(data).hexdigest() != head.samples_sha256:
        raise CannotUnpack(f"{path.name} is torn, or was changed after it was written")
    return data


def parquet() -> Any:
    """Return ``pyarrow.parquet``. Raises UsageError without it."""
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UsageError(f"a compacted journal {MISSING}") from None


class _Numbers:
    """The numbers of a Parquet file, which are unpacked in bounded pieces."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._path = data, path
        parquet()
        with self._refusing():
            self._must_fit(self._opened())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the digits and the power of each number, oldest first. Raises CannotUnpack."""
        with self._refusing():
            for batch in self._opened().iter_batches(AT_ONCE, columns=[DIGITS, POWER], use_threads=False):
                if any(column.null_count for column in batch.columns):
                    raise ValueError("has a row without a number")
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def _opened(self) -> Any:
        arrow = importlib.import_module("pyarrow")
        limits = {"thrift_string_size_limit": MIB, "thrift_container_size_limit": 1 << 16}
        return parquet().ParquetFile(arrow.BufferReader(self._data), pre_buffer=False, **limits)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn what pyarrow says of a file, and what is said of it here, into CannotUnpack."""
        arrow = importlib.import_module("pyarrow")
        try:
            yield
        except (arrow.ArrowException, OSError, ValueError) as bad:
            raise CannotUnpack(f"{self._path.name} {one_line(str(bad)[:200])}") from None

    def _must_fit(self, file: Any) -> None:
        about = file.metadata
        found = {field.name: str(field.type) for field in file.schema_arrow}
        if found != COLUMNS or len(file.schema_arrow) != len(COLUMNS) or about.metadata:
            raise ValueError("has other columns than samples have")
        if about.num_rows > MOST_NUMBERS or not about.created_by.startswith(_OURS):
            raise ValueError(f"has more than {MOST_NUMBERS} numbers, or was written by another program")
        for group in map(about.row_group, range(about.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                begin = column.dictionary_page_offset or column.data_page_offset
                begin = min(begin, column.data_page_offset)
                parquet_pages.must_be_modest(self._data, begin, begin + column.total_compressed_size)
