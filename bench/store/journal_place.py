"""Find the journal of a run or a load: as it was written, packed or compacted, also while that changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bench.bounded import why
from bench.errors import IntegrityError, UsageError
from bench.store.directories import is_closed
from bench.store.packed import CannotUnpack
from bench.store.run_files import CAMPAIGN, JOURNAL, JOURNALS, LOAD_JSON, PACKED, RUN_JSON

MOST_CHANGES = 5  # of one journal, while one reader opens it
Found = TypeVar("Found")


def journal_of(directory: Path) -> Path:
    """Return the path of the journal of the run in ``directory``: as it was written, packed or compacted.

    Raises UsageError if there is none, or that of a load; IntegrityError if there is one unpacked and packed.
    """
    if os.path.lexists(directory / LOAD_JSON) and not os.path.lexists(directory / RUN_JSON):
        raise UsageError(f"{directory} is a load of a server and no run: `bench load {directory}` shows it")
    path = journal_in(directory)
    if path is None and os.path.lexists(directory / CAMPAIGN):
        raise UsageError(f"{directory} is a campaign and no run: its runs are beside it")
    if path is None:
        why = ": this user may not look into it" if is_closed(directory) else f" holds no run (no {JOURNAL})"
        raise UsageError(f"{directory}{why}")
    return path


def journal_in(directory: Path) -> Path | None:
    """Return the path of the journal in ``directory``, whatever it is of; None if there is none.

    A compacted one beside another is what a compaction left that was cut short: the other is the journal.
    Raises IntegrityError if there is one unpacked and packed.
    """
    # A compaction, or its undoing, may put one in the place of another between two looks.
    paths = _there(directory) or _there(directory)
    if directory / PACKED in paths[1:]:
        raise IntegrityError(f"{directory} holds two journals, {JOURNAL} and {PACKED}; keep one of them")
    return paths[0] if paths else None


def _there(directory: Path) -> list[Path]:
    return [path for name in JOURNALS if os.path.lexists(path := directory / name)]


def where_it_is_now(path: Path, read: Callable[[Path], Found]) -> Found:
    """Return what ``read`` returns for a journal, or for the one that took its place meanwhile.

    Another process may compact a run, or undo that, after somebody has found its journal. There is always one
    that is whole, so it is looked for again.
    """
    for _ in range(MOST_CHANGES):
        try:
            return read(path)
        except (FileNotFoundError, CannotUnpack):
            now = journal_in(path.parent) if path.name in JOURNALS else None
            if now is None or now == path:
                raise
            path = now
    return read(path)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn an error of the block, which reads the journal at ``path``, into an IntegrityError."""
    try:
        yield
    except CannotUnpack as bad:
        raise IntegrityError(f"{path}: cannot be unpacked ({bad})") from None
    except OSError as bad:
        raise IntegrityError(f"{path}: {why(bad)}") from None
