"""Read the parts of a run that an index stores: what lists show of its summary, and its journal's digest."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from bench.bounded import is_file
from bench.errors import BenchError, IntegrityError, UsageError
from bench.formatting import one_line
from bench.metrics import cost, energy, throughput
from bench.metrics.comparisons import Comparison
from bench.records.devices_used import devices_used
from bench.results.index_records import NO_RUN, UNREADABLE, IndexedRow, IndexedRun, changed_ns, files_of
from bench.results.listed import FIGURES, listed_run
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.results.summarise import STEP_PAIRS
from bench.results.summary import RUN_JSON, is_run, load_run
from bench.stats.figure import Figure
from bench.stats.ratio_verdict import RatioDesign
from bench.store.journal_end import last_digest
from bench.store.replay import journal_of
from bench.store.run_files import LOAD_JSON as LOAD_JSON

LONGEST, MOST_STEPS, MOST_PRICE = 400, 4000, 20_000  # characters of a text, of the steps, of a price block
MOST_THREADS = 2**31
TICK_S, MOST_TICKS = 0.011, 4  # a kernel has at least 100 ticks a second


def read_run(directory: bytes) -> IndexedRun:
    """Return the index entry of a directory. For a run that cannot be read it has the reason."""
    path, place = Path(os.fsdecode(directory)), directory.rpartition(b"/")[2]
    _let_settle(directory)
    try:
        status = path.stat()
    except OSError:  # the directory has gone meanwhile
        return IndexedRun(place, 0, "", NO_RUN)
    state = (place, status.st_ctime_ns, files_of(directory))
    if not os.access(path, os.R_OK | os.X_OK):  # it belongs to another user
        return IndexedRun(*state, UNREADABLE, "this user may not look into it")
    if not is_file(path / RUN_JSON) and (os.path.lexists(path / LOAD_JSON) or not is_run(path)):
        return IndexedRun(*state, NO_RUN)
    try:
        return _entry(state, *(listed_run(path) or (load_run(path, FIGURES), _last_digest(path))))
    except BenchError as bad:
        return IndexedRun(*state, UNREADABLE, _text(str(bad))[:LONGEST])


def _let_settle(directory: bytes) -> None:
    """Wait until the last change of a run is older than a tick of the kernel's clock.

    All changes within a tick get the same time. So one that follows the reading of such a run could not be
    told from the one before it. A run that goes on changing is read as it is, after a few ticks: it is not
    finished, and looked at each time.
    """
    for _ in range(MOST_TICKS):
        if _present_ns() - changed_ns(directory) > TICK_S * 1e9:
            return
        threading.Event().wait(TICK_S)


def _present_ns() -> int:
    """Return the time that the kernel would now give to a file, in nanoseconds: that of a new file in the
    memory."""
    with TemporaryFile() if not hasattr(os, "memfd_create") else os.fdopen(os.memfd_create("now")) as new:
        return os.fstat(new.fileno()).st_ctime_ns


def _last_digest(path: Path) -> str:
    try:
        return last_digest(journal_of(path))
    except UsageError:  # the run has a summary but no journal
        return ""


def _entry(state: tuple[bytes, int, str], run: RunSummary, digest: str) -> IndexedRun:
    price = json.dumps(run.price, sort_keys=True)
    if len(price) > MOST_PRICE:
        raise IntegrityError(f"its price has more than {MOST_PRICE} letters")
    return IndexedRun(
        *state,
        status=str(run.status),
        why=_text("; ".join(run.reasons))[:LONGEST],
        journal_sha256=digest,
        run_id=run.run_id,
        name=run.name,
        started=_in_utc(run.started_utc),
        finished=_in_utc(run.finished_utc) if run.finished_utc else None,
        verdict=str(run.gate.verdict) if run.gate else "",
        models=_models(run),
        machine=_machine(run.machine),
        price=price,
        rows=tuple(_row(run, row) for row in run.rows),
    )


def _models(run: RunSummary) -> str:
    names = dict.fromkeys(str((row.model or {}).get("name") or "") for row in run.rows)
    return ", ".join(filter(None, names))[:LONGEST]


def _text(text: str) -> str:
    """Return text on one line, without characters that UTF-8 cannot encode."""
    return one_line(text).encode(errors="replace").decode()


def _in_utc(stamp: str) -> str:
    """Return a time in UTC, in a form that sorts as text.

    A time that is not between the years 1 and 9999 in UTC is returned unchanged.
    """
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return _text(stamp)[:LONGEST]


def _machine(machine: Mapping[str, Any]) -> str:
    gpus = [str(gpu.get("name") if isinstance(gpu, Mapping) else gpu) for gpu in machine.get("gpus") or ()]
    cpus = f"{machine['cpus']} CPUs" if machine.get("cpus") else ""
    words = (str(machine.get("cpu_model") or ""), cpus, *dict.fromkeys(gpus))
    return _text(", ".join(filter(None, words)))[:LONGEST]


def _row(run: RunSummary, row: Row) -> IndexedRow:
    tokens, paid = row.figure(throughput.TOTAL), row.figure(cost.PER_1K)
    ratio = run.comparison(row, cost.PER_1K)
    paired = ratio if ratio is not None and ratio.design in STEP_PAIRS and ratio.value is not None else None
    return IndexedRow(
        name=row.name,
        group=row.group,
        is_baseline=row.is_baseline,
        status=str(row.status),
        steps=_text(" + ".join(row.optimisations))[:MOST_STEPS],
        threads=min(row.facts.threads, MOST_THREADS) if row.facts and row.facts.threads else None,
        devices=devices_used(row.runtime),
        device=_text(run.device_of(row))[:LONGEST],
        tokens_per_s=_number(tokens, "value"),
        tokens_low=_number(tokens, "ci_low"),
        tokens_high=_number(tokens, "ci_high"),
        joules_per_1k=_joules_per_1k(row),
        cost=_number(paid, "value"),
        cost_low=_number(paid, "ci_low"),
        cost_high=_number(paid, "ci_high"),
        alone=paid is None or "alone" not in paid.notes,
        ratio=_number(ratio, "ratio"),
        ratio_low=_number(ratio, "ci_low"),
        ratio_high=_number(ratio, "ci_high"),
        by_price=ratio is None or ratio.design != RatioDesign.BLOCKS,
        value=_number(paired, "value"),
        value_low=_number(paired, "value_low"),
        value_high=_number(paired, "value_high"),
    )


def _number(source: Figure | Comparison | None, name: str) -> float | None:
    number = getattr(source, name, None)
    return None if number is None else float(number)


def _joules_per_1k(row: Row) -> float | None:
    """Return the joules per thousand tokens: joules per request times requests per thousand tokens."""
    joules, requests, tokens = (
        row.figure(metric) for metric in (energy.PER_REQUEST, throughput.REQUESTS, throughput.TOTAL)
    )
    if joules is None or requests is None or tokens is None or not tokens.value:
        return None
    return float(joules.value) * requests.value * 1000 / tokens.value
