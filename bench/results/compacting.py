"""Say whether a journal may be compacted, and compact or restore it under the lock of its directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import format_size, one_line
from bench.results.verify import verify_run
from bench.store import compaction
from bench.store.compacted import require_pyarrow
from bench.store.journal import read_journal
from bench.store.journal_end import last_digest
from bench.store.journal_place import journal_of
from bench.store.replay import judging
from bench.store.run_files import REST, RUN_JSON, SAMPLES
from bench.store.run_lock import holder_of, run_lock


class LeftAlone(UsageError):
    """A run is as it was, and nothing is wrong with it; the message is a phrase that says why."""


@dataclass(frozen=True)
class Packable:
    """What has a journal that may be compacted: where that is, the kind of its last record, the name of the
    summary beside it, what verifies both, and what is said of one that was cut short."""

    journal_of: Callable[[Path], Path]
    last: str
    summary: str
    verify: Callable[[Path], str]
    unfinished: str


RUN = Packable(
    journal_of, "run_finished", RUN_JSON, verify_run, "is not finished; `bench run --resume` continues it"
)


def compact_run(directory: Path, before: datetime | None, *, only_look: bool, of: Packable = RUN) -> str:
    """Compact the journal of a run that has ended, and return what that changed, as a phrase.

    With ``before``, only a run that ended before then; with ``only_look``, nothing is written. Raises
    LeftAlone for a run that is compacted, is not finished or ended later; UsageError for a directory that
    holds no run or is in use, and without pyarrow; IntegrityError for one that `bench verify` refuses.
    """
    require_pyarrow()
    journal, ends_with = _closed(directory, before, of)
    if only_look:
        of.verify(directory)
        return f"would be compacted: {format_size(journal.stat().st_size)} of {journal.name}"
    with run_lock(directory):
        if of.journal_of(directory) != journal or last_digest(journal) != ends_with:
            journal, _ = _closed(directory, before, of)  # another process has been here
        of.verify(directory)
        was = journal.stat().st_size
        compaction.compact(journal)
    now = sum((directory / name).stat().st_size for name in (REST, SAMPLES))
    return f"compacted: {format_size(was)} of {journal.name}, now {format_size(now)}"


def restore_run(directory: Path, *, of: Packable = RUN) -> str:
    """Write the journal of a compacted run as it was, and return what that changed, as a phrase.

    Raises LeftAlone for a run that is not compacted; IntegrityError if the journal cannot be made again.
    """
    of.journal_of(directory)
    if not os.path.lexists(directory / REST):
        raise LeftAlone("is not compacted")
    with run_lock(directory):
        compaction.undo(directory)
    journal = of.journal_of(directory)
    return f"restored: {journal.name} of {format_size(journal.stat().st_size)}"


def _closed(directory: Path, before: datetime | None, of: Packable) -> tuple[Path, str]:
    """Return the journal of a run that is whole and that nobody goes on with, and its last digest."""
    path = of.journal_of(directory)
    if path.name == REST:
        raise LeftAlone("is compacted already")
    read = read_journal(path, {of.last})
    last = read.records[-1] if read.records else {}
    if read.notices or last.get("kind") != of.last or not os.path.lexists(directory / of.summary):
        holder = holder_of(directory)
        raise LeftAlone(f"is not finished: {holder} is at it" if holder else of.unfinished)
    with judging(path):
        is_younger = before is not None and datetime.fromisoformat(str(last["at_utc"])) > before
    if is_younger:
        raise LeftAlone(f"ended later than asked for, at {one_line(str(last['at_utc']))}")
    return path, read.digest
