"""Read how long each row took in an earlier run of the same config, including its additional pairs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bench.errors import BenchError
from bench.formatting import row_title
from bench.store.journal import read_journal
from bench.store.replay import journal_of, newest_first
from bench.store.schema import KINDS, check_record


def earlier_seconds(out: Path, name: str) -> dict[str, float]:
    """Return the seconds that each row took in the newest finished run called ``name`` in ``out``.

    The keys are the rows' titles. The result is empty if there is no such run.
    """
    for directory, head in newest_first(out):
        if head.get("name") == name and not head.get("gate"):
            try:
                seconds = _seconds(directory)
            except BenchError:
                continue  # `bench verify` reports a damaged run; here it only cannot give an estimate
            if seconds:
                return seconds
    return {}


def _seconds(directory: Path) -> dict[str, float]:
    """Return the seconds of each row of a run; the result is empty if the run was not finished."""
    began: dict[tuple[str, str], datetime] = {}
    took: dict[str, float] = {}
    path = journal_of(directory)
    records = read_journal(path, KINDS).records
    if not any(record["kind"] == "run_finished" for record in records):
        return {}
    for number, record in enumerate(records, start=1):
        if record["kind"] not in ("arm", "unit"):
            continue
        check_record(number, record, str(path))
        if record["kind"] == "unit":
            title = row_title(str(record["group"]), str(record["variant"]))
            if title in took:  # an additional pair, measured after the row itself
                took[title] += float(str(record.get("took_s") or 0))
            continue
        key = str(record["group"]), str(record["name"])
        at = datetime.fromisoformat(str(record["at_utc"]))
        if record.get("started"):
            began[key] = at
        elif "status" in record and key in began:
            seconds = (at - began.pop(key)).total_seconds()
            if seconds >= 0:  # it is negative if the wall clock was set back meanwhile
                took[row_title(*key)] = seconds
    return took
