"""Compact the journal of a run, and undo that, so that no ending of this process loses a byte of it.

A journal is removed only after it was read back from what was written in its place, and only by the holder of
the directory's lock. Wherever the process ends, the directory has the journal, or both files of the compacted
one; while it has both, the journal is the one that is read. ``journal.rest.gz`` comes first and goes last, so
a ``samples.parquet`` without it is not ours.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from bench.bounded import open_regular
from bench.errors import BenchError, IntegrityError, OnFailure, UsageError
from bench.store import parquet_numbers
from bench.store.chain import BEGINNING, MAX_BYTES, MOST_IN_A_LINE
from bench.store.compacted import COLUMNS, Head, noted, rebuilt, require_pyarrow
from bench.store.files import naming, strict_json, sync_directory
from bench.store.journal import lines_of, opened
from bench.store.journal_end import records_up_to
from bench.store.journal_place import refusing
from bench.store.line_numbers import Sample, frame_of, in_unicode
from bench.store.packed import unpacked
from bench.store.parquet_numbers import Expected
from bench.store.run_files import JOURNAL, JOURNALS, REST, SAMPLES

DIGITS = "digits"
ROWS_AT_ONCE = 1 << 17  # of a row group
_LEVEL, _LEVEL_OF_ZSTD = 6, 9
_MODE = 0o666  # bits that a copy takes from its original


def compact(journal: Path) -> None:
    """Replace a journal, packed or not, by frames and a Parquet file of its numbers.

    The caller holds the lock of the directory, and has verified the journal. Raises UsageError without
    pyarrow, or if a file of another origin is in the way; IntegrityError for a journal that cannot be made
    again from what was written; BenchError if nothing can be written. The journal is then untouched.
    """
    directory, mode = journal.parent, _mode(journal)
    require_pyarrow()
    _must_be_free(directory, journal)
    with (
        naming("compact", journal),
        _beside(directory / REST) as rest,
        _beside(directory / SAMPLES) as samples,
    ):
        _write(journal, rest, samples, mode)
        _must_be_the_same(journal, rest, samples)
        os.replace(rest, directory / REST)  # noqa: PTH105 - all other calls here are of ``os`` too
        os.replace(samples, directory / SAMPLES)  # noqa: PTH105
        sync_directory(directory)
        os.unlink(journal)  # noqa: PTH108
        sync_directory(directory)


def undo(directory: Path) -> None:
    """Write the journal of a compacted run as it was, byte for byte, and remove what was in its place.

    The caller holds the lock of the directory. Raises IntegrityError if the files do not make the journal
    that was compacted, UsageError without pyarrow or if nothing is compacted here.
    """
    rest = directory / REST
    if not os.path.lexists(rest):
        raise UsageError(f"{directory} is not compacted")
    with naming("restore the journal of", directory):
        others = [directory / name for name in JOURNALS if os.path.lexists(directory / name)][:-1]
        if others:
            _must_be_of(others[0], rest)
        else:
            with _beside(directory / JOURNAL) as journal:
                with opened(rest) as lines, _synced(journal, _mode(rest)) as file:
                    for line in lines_of(lines, rest):
                        file.write(line)
                os.replace(journal, directory / JOURNAL)  # noqa: PTH105
            sync_directory(directory)
        for name in (SAMPLES, REST):
            (directory / name).unlink(missing_ok=True)
        sync_directory(directory)


def _must_be_free(directory: Path, journal: Path) -> None:
    if os.path.lexists(directory / REST):
        _must_be_of(journal, directory / REST)
    elif os.path.lexists(directory / SAMPLES):
        raise UsageError(f"{directory / SAMPLES} is not of a compaction; move it to another place")


def _must_be_of(journal: Path, rest: Path) -> None:
    """Raise IntegrityError unless ``rest`` is what a compaction of this journal has left, which may have gone
    on since. Without this, a journal that was copied here would be the end of the one that is compacted."""
    with refusing(rest), open_regular(rest, follow=False) as file:
        known = noted(unpacked(file, MAX_BYTES)).journal_sha256
    if records_up_to(journal, known) is None:
        raise IntegrityError(f"{rest} is of another journal than {journal.name}; keep one of them")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode) & _MODE


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give the name under which ``path`` is written; what is there, of a process that was killed, goes."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    with OnFailure(lambda: temporary.unlink(missing_ok=True)):
        yield temporary


@contextmanager
def _synced(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Open a new file, which is on the disk when the block has ended."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # as the original, whatever the umask
        yield file
        file.flush()
        os.fsync(descriptor)


def _write(journal: Path, rest: Path, samples: Path, mode: int) -> None:
    frames, size, ends_with = list[bytes](), 0, BEGINNING.digest
    with opened(journal) as lines, _synced(samples, mode) as file, _table(file) as add:
        for number, line in enumerate(lines_of(lines, journal), start=1):
            record = _record(line, f"{journal}:{number}")
            frame, found = frame_of(line, record)
            frames.append(frame)
            size, ends_with = size + len(line), hashlib.sha256(line[:-1]).hexdigest()
            add(number, record, found)
    with open_regular(samples, follow=False) as written:
        head = Head(len(frames), size, ends_with, hashlib.file_digest(written, "sha256").hexdigest())
    with _synced(rest, mode) as file, gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        packed.write(head.line())
        packed.writelines(frames)


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = strict_json(line, MOST_IN_A_LINE)
    except ValueError as bad:
        raise IntegrityError(f"{where}: not JSON ({bad})") from None
    if not isinstance(record, dict) or not line.endswith(b"\n"):
        raise IntegrityError(f"{where}: not a whole record")
    return record


def _must_be_the_same(journal: Path, rest: Path, samples: Path) -> None:
    """Raise IntegrityError unless the two files make the journal again, line for line."""
    with opened(journal) as lines, refusing(rest), open_regular(rest, follow=False) as file:
        again = rebuilt(unpacked(file, MAX_BYTES), samples, _ours)
        for number, line in enumerate(lines_of(lines, journal), start=1):
            if again.readline() != line:
                raise IntegrityError(f"{journal}:{number}: would not be read back as it is, so it stays")
        if again.read():
            raise BenchError(f"{journal}: has changed while it was compacted")


def _ours(data: bytes, expected: Expected) -> Iterator[tuple[int, int]]:
    """Yield the numbers of a file that was just written here, and needs no child to read it."""
    for part in parquet_numbers.numbers(data, expected):
        yield from zip(*part, strict=True)


@contextmanager
def _table(file: IO[bytes]) -> Iterator[Callable[[int, Mapping[str, Any], list[Sample]], None]]:
    """Give a function that adds the numbers of a record to a Parquet file, which has a row for each."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in COLUMNS.items()])
    waiting: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    with parquet.ParquetWriter(
        file, schema, compression="zstd", compression_level=_LEVEL_OF_ZSTD, store_schema=False,
        use_dictionary=[name for name in COLUMNS if name != DIGITS],
        column_encoding={DIGITS: "BYTE_STREAM_SPLIT"},
    ) as writer:  # fmt: skip

        def flush() -> None:
            writer.write_table(arrow.table(waiting, schema=schema))
            for column in waiting.values():
                column.clear()

        def add(number: int, record: Mapping[str, Any], samples: list[Sample]) -> None:
            labels = (number, *map(_label, _about(record)))
            columns = (*([label] * len(samples) for label in labels), *zip(*samples, strict=True))
            for name, values in zip(COLUMNS, columns, strict=bool(samples)):
                waiting[name].extend(values)
            if len(waiting[DIGITS]) >= ROWS_AT_ONCE:
                flush()

        yield add
        if waiting[DIGITS]:
            flush()


def _about(record: Mapping[str, Any]) -> tuple[object, object, object]:
    """Return the kind of a record, its comparison group and its row, as far as it has them."""
    row = record.get("name") if record.get("kind") == "arm" else record.get("variant")
    return record.get("kind"), record.get("group"), row


def _label(text: object) -> str | None:
    return in_unicode(text) if isinstance(text, str) else None
