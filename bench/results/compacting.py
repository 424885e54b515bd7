"""Say whether the journal of a run may be compacted, and compact or restore it under the lock of its run."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import format_mib, one_line
from bench.results.verify import verify_run
from bench.store import compaction
from bench.store.compacted import require_pyarrow
from bench.store.journal import read_journal
from bench.store.replay import journal_of, judging
from bench.store.run_files import REST, RUN_JSON, SAMPLES
from bench.store.run_lock import run_lock
from bench.store.schema import KINDS


class LeftAlone(UsageError):
    """A run is as it was, and nothing is wrong with it; the message is a phrase that says why."""


def compact_run(directory: Path, before: datetime | None, *, only_look: bool) -> str:
    """Compact the journal of a run that has ended, and return what that changed, as a phrase.

    With ``before``, only a run that ended before then; with ``only_look``, nothing is written. Raises
    LeftAlone for a run that is compacted, is not finished or ended later; UsageError for a directory that
    holds no run or is in use, and without pyarrow; IntegrityError for one that `bench verify` refuses.
    """
    require_pyarrow()
    journal = _closed(directory, before)
    if only_look:
        return f"would be compacted: {format_mib(journal.stat().st_size)} MiB of {journal.name}"
    with run_lock(directory):
        journal = _closed(directory, before)  # another process may have been here
        was = journal.stat().st_size
        compaction.compact(journal)
    now = sum((directory / name).stat().st_size for name in (REST, SAMPLES))
    return f"compacted: {format_mib(was)} MiB of {journal.name}, now {format_mib(now)} MiB"


def restore_run(directory: Path) -> str:
    """Write the journal of a compacted run as it was, and return what that changed, as a phrase.

    Raises LeftAlone for a run that is not compacted; IntegrityError if the journal cannot be made again.
    """
    journal_of(directory)
    if not os.path.lexists(directory / REST):
        raise LeftAlone("is not compacted")
    with run_lock(directory):
        compaction.undo(directory)
    journal = journal_of(directory)
    return f"restored: {journal.name} of {format_mib(journal.stat().st_size)} MiB"


def _closed(directory: Path, before: datetime | None) -> Path:
    """Return the journal of a run that is whole and that nobody goes on with."""
    path = journal_of(directory)
    if path.name == REST:
        raise LeftAlone("is compacted already")
    read = read_journal(path, KINDS)
    last = read.records[-1] if read.records else {}
    if read.notices or last.get("kind") != "run_finished" or not os.path.lexists(directory / RUN_JSON):
        raise LeftAlone("is not finished; `bench run --resume` continues it")
    with judging(path):
        is_younger = before is not None and datetime.fromisoformat(str(last["at_utc"])) > before
    if is_younger:
        raise LeftAlone(f"ended later than asked for, at {one_line(str(last['at_utc']))}")
    verify_run(directory)
    return path
