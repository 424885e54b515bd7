"""Print the runs of a directory for `bench list runs`, from an index that is stored with them."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.bounded import is_file
from bench.cli.tables import align, terminal_width
from bench.errors import Outcome, UsageError
from bench.formatting import count, format_significant, one_line, row_title
from bench.results.index import Index, one_by_one
from bench.results.index_query import NOT_FINISHED, Wanted
from bench.results.index_records import UNREADABLE, IndexedRow, IndexedRun

TITLES = ("run", "started", "status", "rows", "machine", "model", "$/1k tok", "ratio", "cheapest row")
MOST_SHOWN = 50
MANY = 400  # directories from which several processes read them
OF_A_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # it sends them to readers too
AT_ONCE = 50  # directories that a process gets at a time
LONGEST_MACHINE = 40


def index_of(directory: Path) -> Index:
    """Return the up-to-date index of a directory of runs. Raises UsageError for any other directory."""
    from bench.store.run_files import JOURNALS, RUN_JSON

    if any(is_file(directory / name) for name in (*JOURNALS, RUN_JSON)):
        raise UsageError(f"{directory} is a run; give the directory that it is in")
    return Index(directory, _read_many)


def _read_many(directories: Sequence[bytes]) -> Iterator[IndexedRun]:
    """Read directories. If there are many, use one process per processor."""
    if len(directories) < MANY:
        yield from one_by_one(directories)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    from bench.machine.devices import cpu_count
    from bench.machine.proc import ending_with_parent
    from bench.results.index_entry import read_run

    print(f"reading {count(len(directories), 'run')} into the index, once", file=sys.stderr)
    begin, fork = _reader(ending_with_parent(signal.SIGKILL)), multiprocessing.get_context("fork")
    with ProcessPoolExecutor(cpu_count(), fork, begin) as pool:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_TERMINAL)  # a reader starts with them blocked
        try:
            found = pool.map(read_run, directories, chunksize=AT_ONCE)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield from found


def _reader(end_with_parent: Callable[[], None]) -> Callable[[], None]:
    """Return what a process does before it reads runs.

    It leaves signals to its parent: a terminal sends Ctrl-C to both, and each reader would show a traceback.
    It ends with its parent: else it would wait for ever for more to read.
    """

    def begin() -> None:
        end_with_parent()
        for number in OF_A_TERMINAL:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_A_TERMINAL)

    return begin


def runs(directory: Path, wanted: Wanted, *, limit: int | None, as_json: bool, as_csv: bool) -> Iterator[str]:
    """Return the text of a list of the runs that match ``wanted``, piece by piece: a table, JSON or CSV.

    ``limit`` is the most runs in the table; 0 means all, and None means ``MOST_SHOWN``. JSON and CSV have the
    runs that ``wanted`` itself allows. Raises UsageError before the first piece.
    """
    wanted.query("1")  # raises for invalid conditions before anything is read
    index = index_of(directory)
    if as_json or as_csv:
        data = (as_data(run, wanted) for run in index.each(wanted))
        return _json(data) if as_json else _csv(data)
    return iter(["\n".join(_table(directory, index, wanted, limit)) + "\n"])


def _table(directory: Path, index: Index, wanted: Wanted, limit: int | None) -> list[str]:
    shown = index.runs(replace(wanted, most=MOST_SHOWN if limit is None else limit))
    number, all_ = index.count(wanted), index.count(Wanted())
    rows = [tuple(map(one_line, _cells(directory, run, wanted))) for run in shown]
    lines = align([TITLES, *rows], terminal_width()) if rows else []
    return [*lines, *([""] if lines else []), *_notes(directory, len(shown), number, all_)]


def _notes(directory: Path, shown: int, number: int, all_: int) -> Iterator[str]:
    of_all = count(all_, "run") if number == all_ else f"{number} of {count(all_, 'run')}"
    rest = f", the first {shown} shown (--limit N, --limit 0: all)" if shown < number else ""
    yield one_line(f"{of_all} in {directory}{rest}")
    if shown:
        yield (
            "$/1k tok and ratio: of the cheapest row that was measured; ratio: to its baseline (~: "
            "the two were not measured together)"
        )


def _cells(directory: Path, run: IndexedRun, wanted: Wanted) -> tuple[str, ...]:
    place = os.fsdecode(run.place)
    if run.status == UNREADABLE:
        return (place, "-", UNREADABLE, "-", "-", "-", "-", "-", run.why)
    row = cheapest(run, wanted.scheme)
    return (
        place,
        run.started[:16].replace("T", " "),
        run.verdict or (run.status if run.finished else _unfinished(directory / place)),
        _rows(run),
        run.machine if len(run.machine) <= LONGEST_MACHINE else run.machine[: LONGEST_MACHINE - 1] + "…",
        run.models,
        format_significant(row.cost if row else None),
        _ratio_words(row) if row else "-",
        _row_words(row) if row else "-",
    )


def _ratio_words(row: IndexedRow) -> str:
    """Return the ratio to the baseline, with the mark of the table if the two were not measured together."""
    together = row.value is not None or not row.by_price
    return "-" if row.ratio is None else f"{row.ratio:.3f}{'' if together else ' ~'}"


def _unfinished(directory: Path) -> str:
    from bench.store.run_lock import holder_of

    return "in progress" if holder_of(directory) else NOT_FINISHED


def _rows(run: IndexedRun) -> str:
    """Return how many rows a run has, and how many of them have no figure because they failed, or because
    they were not reached (yet)."""
    open_ = sum(each.status == Outcome.INTERRUPTED for each in run.rows)
    failed = sum(each.status not in (Outcome.OK, Outcome.UNSUPPORTED) for each in run.rows) - open_
    parts = (f"{failed} failed" if failed else "", f"{open_} not measured" if open_ else "")
    return ", ".join((f"{len(run.rows)}", *filter(None, parts)))


def _row_words(row: IndexedRow) -> str:
    steps = re.sub(r" \([^()]*(\([^()]*\)[^()]*)*\)", "", row.steps)  # without their settings
    return f"{row.title}: {steps}" if steps else row.title


def cheapest(run: IndexedRun, scheme: str | None = None) -> IndexedRow | None:
    """Return the row with the lowest cost per thousand tokens, of those whose steps contain ``scheme``."""
    part = (scheme or "").lower()
    rows = [row for row in run.rows if row.cost is not None and part in row.steps.lower()]
    return min(rows, key=lambda row: row.cost or 0.0, default=None)


def as_data(run: IndexedRun, wanted: Wanted) -> dict[str, Any]:
    """Return a run as a flat dict for JSON and CSV."""
    row = cheapest(run, wanted.scheme)
    return {
        "directory": os.fsdecode(run.place),
        "run_id": run.run_id,
        "name": run.name,
        "started_utc": run.started,
        "finished_utc": run.finished,
        "status": run.status,
        "verdict": run.verdict or None,
        "reason": run.why or None,
        "models": run.models,
        "machine": run.machine,
        "rows": len(run.rows),
        "rows_ok": sum(each.status == "ok" for each in run.rows),
        "cheapest_row": row_title(row.group, row.name) if row else None,
        "optimisations": row.steps if row else None,
        "cost_per_1k_tokens_usd": row.cost if row else None,
        "cost_ratio": row.ratio if row else None,
        "journal_sha256": run.journal_sha256 or None,
    }


def _json(data: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Write a list in JSON, one element after the other."""
    from bench.report.formats import ascii_json

    before = "["
    for one in data:
        yield before + ascii_json([one], indent=1)[1:-2]
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _csv(data: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Write CSV in which no cell can become a formula."""
    from bench.report.formats.csv import safe_cell

    keys: Sequence[str] | None = None
    for row in data:
        out = io.StringIO()
        writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        if keys is None:
            writer.writerow(keys := tuple(row))
        writer.writerow([safe_cell(value) for value in row.values()])
        yield out.getvalue()
    if keys is None:
        yield "\n"
