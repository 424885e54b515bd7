"""``bench verify`` of a load: every figure of ``load.json`` again, from the raw times in its journal."""

from __future__ import annotations

import json
from pathlib import Path

from bench.bounded import read_bounded, why
from bench.errors import IntegrityError
from bench.formatting import MIB
from bench.metrics.requests import Limits
from bench.results.verify import must_agree
from bench.serving import record
from bench.store.journal import read_journal
from bench.store.replay import judging

MOST_BYTES = 64 * MIB


def is_load(directory: Path) -> bool:
    """Return whether a directory is that of a load, and not of a run."""
    return (directory / record.SUMMARY).is_file()


def verify_load(directory: Path) -> str:
    """Recompute the journal's chain and ``load.json``; return what was checked.

    Raises IntegrityError (exit 6) with the first thing that differs.
    """
    path, journal = directory / record.SUMMARY, directory / record.JOURNAL
    read = read_journal(journal)
    with judging(directory):
        head, load, slo, price, drift = record.read(directory)
        made = json.loads(json.dumps(record.result(head, load, Limits(slo), price, drift).to_json()))
    try:
        found = json.loads(read_bounded(path, MOST_BYTES))
    except OSError as bad:
        raise IntegrityError(f"{path}: {why(bad)}") from None
    except (ValueError, RecursionError):
        raise IntegrityError(f"{path}: is not JSON") from None
    must_agree(path, found, made, None)
    return (
        f"{journal}: {len(read.records)} records, each bound to the one before it; ends with {read.digest}\n"
        f"{path}: the summary of the journal, figure by figure, from {len(load.samples)} requests"
    )
