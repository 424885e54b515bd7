"""Read a journal back as a RunRecord. The run itself, re-pricing and verifying all use this code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.bounded import open_regular
from bench.errors import IntegrityError
from bench.formatting import MIB, one_line
from bench.records import ArmRecord, Json, RunRecord, UnitRecord
from bench.store.files import strict_json
from bench.store.journal import Followed, read_journal
from bench.store.journal_limits import must_be_modest
from bench.store.journal_place import journal_of as journal_of
from bench.store.parts import Part, a_row, a_unit
from bench.store.run_files import JOURNAL as JOURNAL
from bench.store.schema import KINDS, check_record
from bench.store.values import explained

SCHEMA_VERSION = 1
Head = tuple[Path, Json]  # the directory of a run, and the first record of its journal
MAX_HEAD_BYTES = 4 * MIB
MOST_ROWS = 1000  # the same limit as in a config
# Units of all rows, and of one row. A gate measures 1,000 at most, and can take over those of an earlier one.
MOST_UNITS, MOST_OF_A_ROW = 5000, 2000
MOST_WINDOWS = 8000  # of all rows; the largest run under results/reference has 371
# For these keys of an arm, each record adds to the list; for other keys, the value replaces the earlier one.
_GROWING = ("duet", "drift", "routed", "logits", "activations", "floor", "noise", "loads")


@cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


def load_record(directory: Path) -> RunRecord:
    """Load the run in ``directory``. Raises UsageError without a run, IntegrityError for a broken journal."""
    path = journal_of(directory)
    read = read_journal(path, KINDS)
    return replay(read.records, read.notices, str(path))


@contextmanager
def judging(place: Path | str) -> Iterator[None]:
    """Turn an error of the block, which summarises the records of ``place``, into an IntegrityError.

    The records have already passed their schema. The errors that remain are records that do not fit together,
    such as a variant without a baseline, or numbers whose product overflows. Use this only for runs that were
    read from a file, not for a new measurement and not around the rendering of a page, because an error there
    is a bug of this program (``bench/cli/edited_results.py``).
    """
    try:
        yield
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as bad:
        raise IntegrityError(_not_together(place, bad)) from bad
    except (RuntimeError, StopIteration) as bad:  # ``next`` on too few entries
        raise IntegrityError(_not_together(place, bad)) from bad


@contextmanager
def in_range(place: str) -> Iterator[None]:
    """Turn an arithmetic error of the block into an IntegrityError about ``place``.

    Each figure of ``place`` is within its schema, but a ratio or a mean of them may not exist. Any other
    error is a bug.
    """
    try:
        yield
    except ArithmeticError as bad:
        what = f"{type(bad).__name__}: {one_line(str(bad)[:200])}"
        raise IntegrityError(f"{place}: a figure is out of range ({what})") from bad


def _not_together(place: Path | str, bad: Exception) -> str:
    what = "a figure is out of range" if isinstance(bad, OverflowError) else "its records do not fit together"
    return f"{place}: {what} ({type(bad).__name__}: {one_line(str(bad)[:200])})"


def newest_first(out: Path) -> Iterator[Head]:
    """Yield (directory, first record) of every run in ``out`` with an uncompressed journal, newest first.

    A journal that cannot be read is skipped here, because loading it will raise the error.
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
    """Combine journal records into one RunRecord; an arm that ended early keeps what was measured of it."""
    fold = _Fold(where)
    for record in records:
        fold.add(record)
    return fold.record(notices)


class Growing:
    """Read a run that is being measured from its journal, each line only once for all calls of ``run``.

    What a record adds is made once too, so that a call takes as long as what came since the last one.
    """

    def __init__(self, directory: Path) -> None:
        path = journal_of(directory)
        self._journal, self._fold = Followed(path, KINDS), _Fold(str(path))

    def run(self) -> RunRecord:
        """Return the run as its journal is now. Raises IntegrityError for a broken journal."""
        for record in self._journal.more():
            self._fold.add(record)
        return self._fold.record()


class _Fold:
    """Combine the records of one journal, one after the other."""

    def __init__(self, where: str) -> None:
        self._where, self._count = where, 0
        self._head: dict[str, Any] = {}
        self._arms: dict[tuple[str, str], Part[ArmRecord]] = {}
        self._units: list[Part[UnitRecord]] = []
        self._begun: dict[tuple[str, str], int] = {}  # by row: how many units there were at its newest start
        self._finished: str | None = None

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the next record, oldest first. Raises IntegrityError if it does not fit its schema."""
        self._count += 1
        if self._count == 1:
            self._begin(record)
        check_record(self._count, record, self._where)
        if self._count == 1:
            return
        if record["kind"] == "run_finished":
            self._finished = record["at_utc"]
        elif record["kind"] == "arm":
            key = (record["group"], record["name"])
            arm = self._arms.setdefault(key, a_row())
            arm.changed(_merged(arm.content, _payload(record)))
            if len(self._arms) > MOST_ROWS:
                raise IntegrityError(f"{self._where}: more than {MOST_ROWS} rows")
            if record.get("started"):
                self._begun[key] = len(self._units)
        elif record["kind"] == "unit":
            self._units.append(a_unit(_payload(record)))

    def _begin(self, head: Mapping[str, Any]) -> None:
        if head["kind"] != "run_started":
            raise IntegrityError(f"{self._where}: the journal does not begin with a run")
        version = head.get("schema_version")
        if type(version) is int and version > SCHEMA_VERSION:
            raise IntegrityError(f"{self._where}: written by a newer version (schema {version})")
        self._head = dict(head)

    def record(self, notices: Sequence[str] = ()) -> RunRecord:
        """Return the run of all records so far. Raises IntegrityError if it has none, or is too large."""
        if not self._head:
            raise IntegrityError(f"{self._where}: the journal does not begin with a run")
        units = self._units_of_whole_attempts()
        arms = list(self._arms.values())
        units += [a_unit(unit) for arm in arms for unit in _as_unit(arm.content)]
        about = {**self._head, "started_utc": self._head["at_utc"], "finished_utc": self._finished}
        try:
            must_be_modest([*(arm.weight for arm in arms), *(unit.weight for unit in units)])
            made = {"arms": [arm.made for arm in arms], "units": [unit.made for unit in units]}
            return _adapter().validate_python({**about, **made, "notices": list(notices)})
        except ValidationError as bad:
            raise IntegrityError(f"{self._where}: {explained(bad)}") from None
        except ValueError as bad:
            raise IntegrityError(f"{self._where}: {bad}") from None

    def _units_of_whole_attempts(self) -> list[Part[UnitRecord]]:
        """Return all units except those of interrupted attempts. Raises IntegrityError for too many."""
        units = [
            unit
            for number, unit in enumerate(self._units)
            if unit.content.get("from_run") or number >= self._begun.get(_row(unit.content), 0)
        ]
        arms = (arm.content for arm in self._arms.values())
        if sum(map(_windows, arms)) > MOST_WINDOWS:
            raise IntegrityError(f"{self._where}: more than {MOST_WINDOWS} windows of text")
        of_a_row = Counter(_row(unit.content) for unit in units)
        if len(units) > MOST_UNITS or any(number > MOST_OF_A_ROW for number in of_a_row.values()):
            raise IntegrityError(
                f"{self._where}: more than {MOST_OF_A_ROW} units of a row, or {MOST_UNITS} of all"
            )
        return units


def _as_unit(arm: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the turns of an old row as a unit: until 27 November 2026, all turns came from one pair."""
    turns = arm.get("duet")
    if turns:
        sides = {side: [batch[side] for batch in turns] for side in ("baseline_ns", "variant_ns")}
        where = {"group": arm["group"], "variant": arm["name"], "batches": range(len(turns))}
        yield {"number": 1, "spawned_first": 0, **where, **sides}


def _windows(arm: Mapping[str, Any]) -> int:
    """Return how many windows of text a row has, including those of all noise floors."""
    floors = (arm.get("floors") or {}).values()
    return sum(map(len, [arm.get("drift") or (), arm.get("floor") or (), *floors]))


def _row(unit: Mapping[str, Any]) -> tuple[str, str]:
    return unit["group"], unit["variant"]


def _payload(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seq", "prev")}


def _merged(before: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an arm with one more record. One with ``started`` drops what was before, an interrupted attempt.

    What grows in it grows in place.
    """
    arm = {} if record.get("started") else dict(before)
    for key, value in record.items():
        if key in _GROWING:
            arm.setdefault(key, []).extend(value or ())
        elif key in ("probes", "suites"):
            arm.setdefault(key, {}).update(value or {})
        else:
            arm[key] = value
    return arm
