"""Verify a load for ``bench verify``: compute each figure of ``load.json`` again from its journal."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bench.bounded import read_bounded, why
from bench.errors import IntegrityError
from bench.formatting import MIB, one_line
from bench.results.compacting import Packable
from bench.results.verify import must_agree
from bench.serving import record
from bench.store.files import strict_json
from bench.store.journal import read_journal
from bench.store.replay import judging

MOST_BYTES = 64 * MIB


def is_load(directory: Path) -> bool:
    """Return whether a directory is that of a load, and not of a run; its summary may be a link or a FIFO."""
    return os.path.lexists(directory / record.SUMMARY)


def verify_load(directory: Path) -> str:
    """Recompute the journal's chain and ``load.json``; return what was checked.

    Raises IntegrityError (exit 6) with the first thing that differs.
    """
    path, journal = directory / record.SUMMARY, record.journal_at(directory)
    read = read_journal(journal)
    done = record.again(directory, {})
    with judging(journal):
        made = json.loads(json.dumps(done.to_json(), allow_nan=False))
    try:
        found = strict_json(read_bounded(path, MOST_BYTES, follow=False))
    except OSError as bad:
        raise IntegrityError(f"{path}: {why(bad)}") from None
    except ValueError as bad:
        raise IntegrityError(f"{path}: is not JSON ({bad})") from None
    if done.status == "interrupted" and isinstance(found, dict) and found.get("status") == "invalid":
        made["status"] = "invalid"  # as it was called until 28 November 2026
    must_agree(path, found, made, None)
    count = len(read.records)
    lines = (
        f"{journal}: {count} records, each bound to the one before it; ends with {read.digest}",
        f"{path}: the summary of the journal, figure by figure, from {len(done.load.samples)} requests",
    )
    return "\n".join(map(one_line, lines))


LOAD = Packable(
    record.journal_at, record.END, record.SUMMARY, verify_load, "is not finished, and a load is not continued"
)
