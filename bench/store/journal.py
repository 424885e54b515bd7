"""Write and read the journal of a run, which has one record per line, each chained to the line before it.

A line is the canonical JSON of ``seq`` (1 on line 1), ``prev`` (SHA-256 of the line before, without its
newline), ``kind``, ``at_utc``, the payload, and ``check`` (SHA-256 of the record without ``check``). The
chain reveals a line that was changed, deleted, repeated or moved. For the last line ``check`` does this,
because no later line has its digest. If whole lines are lost at the end, the remaining chain is still valid;
only a ``digest`` that is kept elsewhere shows such a loss. All this protects against accidents, and not
against the owner. ``bench/store/chain.py`` seals a line, checks it, and limits its size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Self

from bench.bounded import open_regular
from bench.errors import BenchError, IntegrityError, JournalFailed, OnFailure
from bench.formatting import MIB
from bench.store.chain import BEGINNING, MAX_BYTES, MAX_LINE_BYTES, MAX_RECORDS, Chain, seal, unseal
from bench.store.compacted import rebuilt
from bench.store.files import naming, sync_directory, write_all
from bench.store.journal_place import refusing, where_it_is_now
from bench.store.packed import unpacked
from bench.store.run_files import REST, SAMPLES

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK  # O_NONBLOCK: a FIFO must not block ``open``
Check = Callable[[Mapping[str, object]], None]
_OWN_KEYS = frozenset({"seq", "prev", "kind", "at_utc", "check"})


def anything(_record: Mapping[str, object]) -> None:
    """Take every record."""


@dataclass(frozen=True)
class JournalRead:
    """Hold a journal's records (without ``check``), notices about dropped lines, and the last digest."""

    records: tuple[Mapping[str, object], ...]
    notices: tuple[str, ...]
    digest: str


def _read(
    file: BinaryIO, path: Path, kinds: Container[object] | None = None, chain: Chain = BEGINNING
) -> tuple[JournalRead, Chain]:
    """Read the lines from the position of ``file``, which is right after the last line of ``chain``."""
    records, notices = list[Mapping[str, object]](), []
    for number, line in enumerate(lines_of(file, path), start=chain.count + 1):
        if not line.endswith(b"\n"):
            notices.append(f"{path}:{number}: dropped a torn last line ({len(line)} bytes, no end)")
            break
        try:
            record = unseal(line, chain)
            chain = chain.then(line)
        except (BenchError, ValueError) as error:
            raise IntegrityError(f"{path}:{number}: {error}") from None
        known = kinds is None or record["kind"] in kinds
        records.append(record if known else {key: record[key] for key in ("seq", "prev", "kind", "at_utc")})
    return JournalRead(tuple(records), tuple(notices), chain.digest), chain


def lines_of(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the lines of a journal. Raises IntegrityError for a too long line, and for too many lines."""
    size = 0
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES), b""), start=1):
        size += len(line)
        if len(line) == MAX_LINE_BYTES:
            raise IntegrityError(f"{path}:{number}: the line is longer than {MAX_LINE_BYTES // MIB} MiB")
        if number > MAX_RECORDS:
            raise IntegrityError(f"{path}: more than {MAX_RECORDS} records")
        if size > MAX_BYTES:
            raise IntegrityError(f"{path}:{number}: the journal is longer than {MAX_BYTES // MIB} MiB")
        yield line


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a journal as it was written, or packed, or compacted, as it is now (``where_it_is_now``).

    Raises IntegrityError if it is not a regular file, cannot be read, or cannot be unpacked, and UsageError
    if it was compacted and pyarrow is not installed.
    """
    with refusing(path), ExitStack() as held:
        yield where_it_is_now(path, lambda now: opened_here(now, held))


def opened_here(path: Path, held: ExitStack) -> BinaryIO:
    """Open a journal as its name says, until ``held`` is closed, with all that is needed of a compacted one.

    Raises OSError and CannotUnpack.
    """
    with ExitStack() as stack:
        lines: BinaryIO = stack.enter_context(open_regular(path, follow=False))
        if path.suffix == ".gz":
            lines = unpacked(lines, MAX_BYTES)
        if path.name == REST:
            again = stack.enter_context(rebuilt(lines, path.with_name(SAMPLES)))
            again.peek(1)
            lines = again
        held.push(stack.pop_all())
    return lines


def read_journal(path: Path, kinds: Container[object] | None = None) -> JournalRead:
    """Read all records of the journal at ``path``, oldest first, and verify its chain.

    Records of a kind that is not in ``kinds`` lose their payload. An incomplete last line is dropped with a
    notice. A ``.gz`` is an archived journal, which is never written to. Raises IntegrityError with file and
    line for other damage, and for a file that cannot be read.
    """
    with opened(path) as file:
        return _read(file, path, kinds)[0]


class Followed:
    """Read a journal while another process appends to it, each line once."""

    def __init__(self, path: Path, kinds: Container[object] | None = None) -> None:
        self._path, self._kinds, self._chain = path, kinds, Chain()

    def more(self) -> tuple[Mapping[str, object], ...]:
        """Return the new records since the last call, oldest first.

        An incomplete last line is left for the next call. Raises as ``read_journal`` does.
        """
        with naming("read", self._path), open_regular(self._path, follow=False) as file:
            file.seek(self._chain.size_bytes)
            read, self._chain = _read(file, self._path, self._kinds, self._chain)
        return read.records


class Journal:
    """Append records to a journal, from one thread of one process (see ``run_lock``).

    Use ``create`` or ``reopen`` to make one. If ``append`` raises, nothing was appended: the next ``append``,
    ``sync`` or ``close`` cuts off the bytes that it wrote. After a failed ``sync`` nobody knows what is on
    the disk, so the file is closed and nothing more is written.
    """

    def __init__(self, path: Path, clock: Callable[[], str], file: FileIO, check: Check) -> None:
        self.path = path
        self._check, self._clock, self._file, self._opened = check, clock, file, os.fstat(file.fileno())
        with open(file.fileno(), "rb", closefd=False) as lines:
            read, self._chain = _read(lines, path)
        self.notices, self._unfinished, self._earlier = read.notices, bool(read.notices), read.records

    @classmethod
    def create(cls, path: Path, clock: Callable[[], str], check: Check = anything) -> Self:
        """Start a new journal. ``clock`` returns the UTC time of a record as text.

        ``check`` raises BenchError for a record that no reader would take: it would lose what is before it.
        """
        with naming("create", path):
            os.close(os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o644))
            sync_directory(path.parent)
        return cls.reopen(path, clock, check)

    @classmethod
    def reopen(cls, path: Path, clock: Callable[[], str], check: Check = anything) -> Self:
        """Continue a journal: verify it as ``read_journal`` does, and cut off an incomplete last line."""
        if not path.exists():
            if path.with_name(f"{path.name}.gz").is_file():
                raise BenchError(f"{path}.gz is packed, so nothing more is written to it; unpack it to go on")
            if path.with_name(REST).is_file():
                raise BenchError(f"{path} is compacted; `bench compact --undo {path.parent}` to go on")
        with naming("reopen", path):
            file = FileIO(os.open(path, _FLAGS), "r+")
            with OnFailure(file.close):
                journal = cls(path, clock, file, check)
                journal.sync()
        return journal

    def take_earlier(self) -> tuple[Mapping[str, object], ...]:
        """Return the records that existed when the file was opened, and forget them to free their memory."""
        earlier, self._earlier = self._earlier, ()
        return earlier

    def append(self, kind: str, payload: Mapping[str, object]) -> None:
        """Write one record. It survives the end of this process, and after ``sync`` that of the machine.

        Raises JournalFailed if it cannot be written, BenchError if it could not be read back (NaN, infinity).
        """
        if taken := _OWN_KEYS & payload.keys():
            raise ValueError(f"payload of {kind!r} uses the journal's own keys: {sorted(taken)}")
        link = {"seq": self._chain.count + 1, "prev": self._chain.digest}
        try:
            line = seal({**payload, **link, "kind": kind, "at_utc": self._clock()})
            if len(line) >= MAX_LINE_BYTES:
                raise ValueError(f"it has {len(line) // MIB} MiB, and no reader takes so much")
            read = unseal(line, self._chain)
            self._check(read)
            if seal(read) != line:  # keys that are numbers are sorted in another order
                raise ValueError("it would be read back as something else")
            grown = self._chain.then(line)
        except (BenchError, ValueError) as error:
            raise BenchError(f"{self.path}: cannot store a record of kind {kind!r}: {error}") from None
        intact = f"; its first {self._chain.count} records are intact"
        with naming("append to", self.path, intact, JournalFailed):
            self._cut_unfinished()
            self._unfinished = True
            write_all(self._file.fileno(), line)
        self._chain, self._unfinished = grown, False

    def _cut_unfinished(self) -> None:
        """Cut off the bytes that an unfinished append (an error, Ctrl-C) left in the file."""
        if self._file.closed:
            raise JournalFailed(f"{self.path} is closed: nothing more is written to it")
        if self._unfinished:
            self._file.truncate(self._chain.size_bytes)
            self._unfinished = False

    def sync(self) -> None:
        """Wait until all records are on the disk. This is slow, so never call it inside a timed region."""
        with naming("sync", self.path, "; the records of earlier syncs are intact", JournalFailed):
            try:
                self._cut_unfinished()
                os.fsync(self._file.fileno())
            except OSError:
                self._file.close()
                raise

    def is_at_its_path(self) -> bool:
        """Return whether the path still names the file that is written, and not another file or a link."""
        try:
            there = self.path.lstat()
        except OSError:
            return False
        return os.path.samestat(there, self._opened)

    def close(self) -> None:
        """Sync and close the file. A second call does nothing; an append after it raises JournalFailed."""
        if not self._file.closed:
            with self._file:
                self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with suppress(BenchError) if kind else nullcontext():  # of two failures, the first is reported
            self.close()
