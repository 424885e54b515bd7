"""Read a journal back as a RunRecord. The run itself, re-pricing and verifying use the same function."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.bounded import open_regular
from bench.errors import IntegrityError, UsageError
from bench.formatting import MIB
from bench.records import RunRecord
from bench.store.files import strict_json
from bench.store.journal import read_journal
from bench.store.schema import KINDS, check_record, explained

SCHEMA_VERSION = 1
MAX_HEAD_BYTES = 4 * MIB
MOST_ROWS = 1000  # as in a config
MOST_UNITS, MOST_OF_A_ROW = (
    5000,
    2000,
)  # a gate takes 1,000 at most, besides those of an earlier one
MOST_WINDOWS = 8000  # of all rows: the largest run under results/reference has 371
JOURNAL = "journal.jsonl"
# Keys of an arm with lists that grow with every record; any other key replaces the earlier value.
_GROWING = ("duet", "drift", "routed", "logits", "floor", "noise", "loads")


@cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


def journal_of(directory: Path) -> Path:
    """Return the journal of the run in ``directory``, packed or not.

    Raises UsageError if there is none, IntegrityError if there are two.
    """
    found = [path for path in (directory / JOURNAL, directory / f"{JOURNAL}.gz") if os.path.lexists(path)]
    if len(found) > 1:
        raise IntegrityError(f"{directory} holds two journals, {JOURNAL} and {JOURNAL}.gz; keep one of them")
    if not found:
        raise UsageError(f"{directory} holds no run (no {JOURNAL})")
    return found[0]


def load_record(directory: Path) -> RunRecord:
    """Load the run in ``directory``. Raises UsageError without a run, IntegrityError for a broken journal."""
    path = journal_of(directory)
    read = read_journal(path, KINDS)
    return replay(read.records, read.notices, str(path))


@contextmanager
def judging(place: Path | str) -> Iterator[None]:
    """Turn what goes wrong inside, while what ``place`` names is judged, into an IntegrityError.

    Every record has its schema when this begins. What is left are records that do not fit together, such as a
    variant without a baseline, or numbers whose product is no number.
    """
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as bad:
        raise IntegrityError(_not_together(place, bad)) from bad
    except (RuntimeError, StopIteration) as bad:  # an empty generator
        raise IntegrityError(_not_together(place, bad)) from bad


def _not_together(place: Path | str, bad: Exception) -> str:
    what = "a figure is out of range" if isinstance(bad, OverflowError) else "its records do not fit together"
    return f"{place}: {what} ({type(bad).__name__}: {str(bad)[:200]})"


def newest_first(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (directory, first record) of every run in ``out`` with an unpacked journal, the newest first.

    A journal that cannot be read is skipped here; whoever loads it gets the error.
    """
    for path in sorted(out.glob(f"*/{JOURNAL}"), reverse=True):
        try:
            with open_regular(path, follow=False) as file:
                head = strict_json(file.readline(MAX_HEAD_BYTES))
            if not isinstance(head, dict) or head.get("kind") != "run_started":
                continue
            check_record(1, head, str(path))
        except (OSError, ValueError, IntegrityError):
            continue
        yield path.parent, head


def replay(records: Sequence[Mapping[str, Any]], notices: Sequence[str] = (), where: str = "") -> RunRecord:
    """Fold journal records into one RunRecord; every arm keeps what was measured before it ended."""
    if not records or records[0]["kind"] != "run_started":
        raise IntegrityError(f"{where}: the journal does not begin with a run")
    head = dict(records[0])
    version = head.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        raise IntegrityError(f"{where}: written by a newer version (schema {version})")
    for number, record in enumerate(records, start=1):
        check_record(number, record, where)
    arms: dict[tuple[str, str], dict[str, Any]] = {}
    units: list[dict[str, Any]] = []
    begun: dict[tuple[str, str], int] = {}  # the units before that of an attempt that was cut short
    finished = None
    for record in records[1:]:
        if record["kind"] == "run_finished":
            finished = record["at_utc"]
        elif record["kind"] == "arm":
            key = (record["group"], record["name"])
            _merge(arms.setdefault(key, {}), _payload(record))
            if len(arms) > MOST_ROWS:
                raise IntegrityError(f"{where}: more than {MOST_ROWS} rows")
            if record.get("started"):
                begun[key] = len(units)
        elif record["kind"] == "unit":
            units.append(_payload(record))
    units = [
        unit
        for number, unit in enumerate(units)
        if unit.get("from_run") or number >= begun.get(_row(unit), 0)
    ]
    if sum(map(_windows, arms.values())) > MOST_WINDOWS:
        raise IntegrityError(f"{where}: more than {MOST_WINDOWS} windows of text")
    if len(units) > MOST_UNITS or any(n > MOST_OF_A_ROW for n in Counter(map(_row, units)).values()):
        raise IntegrityError(f"{where}: more than {MOST_OF_A_ROW} units of a row, or {MOST_UNITS} of all")
    units += [unit for arm in arms.values() for unit in _as_unit(arm)]
    body = {**head, "started_utc": head["at_utc"], "finished_utc": finished}
    try:
        return _adapter().validate_python(
            {**body, "arms": list(arms.values()), "units": units, "notices": list(notices)}
        )
    except ValidationError as bad:
        raise IntegrityError(f"{where}: {explained(bad)}") from None


def _as_unit(arm: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the turns of a row from before 27 November 2026, all of which came from one pair, as a unit."""
    turns = arm.get("duet")
    if turns:
        sides = {side: [batch[side] for batch in turns] for side in ("baseline_ns", "variant_ns")}
        where = {"group": arm["group"], "variant": arm["name"], "batches": range(len(turns))}
        yield {"number": 1, "spawned_first": 0, **where, **sides}


def _windows(arm: Mapping[str, Any]) -> int:
    """Return how many windows of text a row has, those of all noise floors too."""
    floors = (arm.get("floors") or {}).values()
    return sum(map(len, [arm.get("drift") or (), arm.get("floor") or (), *floors]))


def _row(unit: Mapping[str, Any]) -> tuple[str, str]:
    return unit["group"], unit["variant"]


def _payload(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seq", "prev")}


def _merge(arm: dict[str, Any], record: Mapping[str, Any]) -> None:
    """Add a record to its arm. ``started`` begins it afresh: an attempt that was cut short leaves nothing."""
    if record.get("started"):
        arm.clear()
    for key, value in record.items():
        if key in _GROWING:
            arm.setdefault(key, []).extend(value or ())
        elif key in ("probes", "suites"):
            arm.setdefault(key, {}).update(value or {})
        else:
            arm[key] = value
