"""Read a compacted journal: frames of its lines in ``journal.rest.gz``, their numbers in ``samples.parquet``.

The first line of the frames says what the journal was: how many lines and bytes it had, the digest of its
last line, and the digest of the Parquet file. ``line_numbers.py`` says what a frame is. ``compaction.py``
writes both files.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, BinaryIO

from bench.bounded import read_bounded, why
from bench.errors import UsageError
from bench.formatting import one_line
from bench.store import parquet_numbers
from bench.store.chain import BEGINNING, MAX_BYTES, MAX_LINE_BYTES, MOST_IN_ALL
from bench.store.files import canonical_json, strict_json
from bench.store.line_numbers import CannotRebuild, line_of
from bench.store.packed import CannotUnpack
from bench.store.parquet_numbers import Expected
from bench.store.run_files import SAMPLES

MISSING = "needs pyarrow: pip install 'inference-cost-bench[parquet]'"
MOST_HEAD_BYTES = 4096
MOST_NUMBERS = MOST_IN_ALL.values + MOST_IN_ALL.containers
AT_ONCE = 1 << 16  # rows that are unpacked at a time
# A row is a number: the record it is of (1 is the first), what that is about, where in it the number is, and
# its value, which is the digits times ten to the power.
COLUMNS = {
    "record": "int32", "kind": "string", "group": "string", "row": "string", "path": "string",
    "digits": "int64", "power": "int32",
}  # fmt: skip
EXPECTED = Expected(COLUMNS, MOST_NUMBERS, AT_ONCE)
# The allocator that reserves no addresses; a child needs nothing else of ours.
_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
Numbers = Callable[[bytes, Expected], Iterator[tuple[int, int]]]


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


def in_a_child(data: bytes, expected: Expected) -> Iterator[tuple[int, int]]:
    """Yield the digits and the power of each number of a Parquet file, which a child reads with limits.

    Raises CannotUnpack if it finds anything else, or is ended.
    """
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        asked = [parquet_numbers.request(expected), *_place()]
        child = subprocess.Popen(
            [sys.executable, "-E", "-P", parquet_numbers.__file__, *asked],
            stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/", env=_ENVIRONMENT,
        )  # fmt: skip
    assert child.stdout is not None
    try:
        while part := _part(child.stdout, expected.at_once):
            yield from zip(*part, strict=True)
    finally:
        child.kill()
        with child:
            pass


def _place() -> list[str]:
    """Return the directory in which this process finds pyarrow; the child has no ``PYTHONPATH``."""
    found = importlib.util.find_spec("pyarrow")
    return [] if found is None or found.origin is None else [str(Path(found.origin).absolute().parents[1])]


def _part(out: IO[bytes], most: int) -> list[array[int]] | None:
    """Return the next digits and powers that a child has found; None at their end."""
    (count,) = parquet_numbers.COUNT.unpack(_exactly(out, parquet_numbers.COUNT.size))
    if count == parquet_numbers.END:
        return None
    if not 0 < count <= most:
        reason = out.read(parquet_numbers.MOST_REASON).decode(errors="replace")
        raise CannotUnpack(f"{SAMPLES} {one_line(reason)}")
    found = []
    for _, kind in (parquet_numbers.DIGITS, parquet_numbers.POWER):
        numbers = array(kind)
        numbers.frombytes(_exactly(out, count * numbers.itemsize))
        found.append(numbers)
    return found


def _exactly(out: IO[bytes], size: int) -> bytes:
    data = out.read(size)
    if len(data) < size:
        raise CannotUnpack(f"{SAMPLES} cannot be read: pyarrow has ended")
    return data


def rebuilt(frames: BinaryIO, samples: Path, numbers: Numbers = in_a_child) -> io.BufferedReader:
    """Return a reader of the journal whose frames and numbers these are, byte for byte as it was.

    Its ``read`` and ``readline`` raise CannotUnpack, also for a Parquet file that is torn or was changed, and
    UsageError without pyarrow. ``close`` ends the child that reads the numbers.
    """
    return io.BufferedReader(_Rebuilt(_lines(frames, samples, numbers)))


def head_of(frames: BinaryIO, samples: Path) -> Head:
    """Read what a compacted journal was, without its numbers, for which nothing is needed but the digest of
    their file. Raises CannotUnpack if a file is damaged or they do not belong together."""
    head = noted(frames)
    _samples(samples, head)
    while frames.read(1 << 16):  # to its end, where gzip keeps its checksum
        pass
    return head


class _Rebuilt(io.RawIOBase):
    def __init__(self, lines: Generator[bytes]) -> None:
        self._lines, self._rest = lines, memoryview(b"")

    def close(self) -> None:
        self._lines.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or memoryview(next(self._lines, b""))
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def _lines(frames: BinaryIO, samples: Path, read: Numbers) -> Generator[bytes]:
    head = noted(frames)
    data = _samples(samples, head)
    require_pyarrow()
    numbers = read(data, EXPECTED)
    digest, size, count = BEGINNING.digest, 0, 0
    while frame := frames.readline(MAX_LINE_BYTES):
        try:
            line = line_of(frame, digest, numbers)
        except CannotRebuild as bad:
            raise CannotUnpack(f"{samples.name} {bad}") from None
        digest = hashlib.sha256(line.removesuffix(b"\n")).hexdigest()
        size, count = size + len(line), count + 1
        yield line
    if next(numbers, None) is not None:
        raise CannotUnpack(f"{samples.name} has more numbers than its journal")
    if (count, size, digest) != (head.lines, head.journal_bytes, head.journal_sha256):
        raise CannotUnpack("frames and numbers do not make the journal that was compacted")


def noted(frames: BinaryIO) -> Head:
    """Read the first line of the frames, and nothing else. Raises CannotUnpack if it is another one."""
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


def require_pyarrow() -> None:
    """Raise UsageError if pyarrow is not installed. It is not imported: a child does that."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"a compacted journal {MISSING}")
