"""Many runs at another price, from the index: the same dollars as from each journal."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import many_runs
import pytest
from journals import HEAD, arm, clock

from bench.metrics import cost
from bench.pricing.reprice import new_price, price_block
from bench.results.index import Index
from bench.results.index_query import Wanted
from bench.results.repriced import Repriced, repriced
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.results.summarise import summarise
from bench.results.summary import is_run
from bench.store.journal import Journal
from bench.store.replay import JOURNAL, load_record

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
TODAY = "2026-02-01"
PRICES: dict[str, tuple[Any, ...]] = {
    "of a whole machine": (None, 1.25, 0.5, TODAY, None),
    "of eight vCPUs": (None, 0.4, None, TODAY, 8),
    "utilisation alone": (None, None, 0.25, TODAY, None),
    "power apart": ("own-2core-desktop", None, 0.7, TODAY, None),
    "a GPU": ("h100-80gb", None, None, TODAY, None),
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Committed runs, made-up ones at prices of all kinds, and two with more threads and energy."""
    out = tmp_path_factory.mktemp("runs")
    for directory in filter(is_run, REFERENCE.iterdir()):
        shutil.copytree(directory, out / directory.name)
    many_runs.write_runs(out, 6)
    for number, hardware in enumerate(("cloud-2vcpu-8gb", "own-2core-desktop")):
        _with_threads_and_joules(out / f"threads-{number}", hardware)
    return out


def _with_threads_and_joules(directory: Path, hardware: str) -> None:
    directory.mkdir()
    with Journal.create(directory / JOURNAL, clock) as journal:
        price = price_block(hardware, None, 0.8, "2026-01-31")
        journal.append("run_started", {**HEAD, "price": price})

        class Richer:
            """Gives the variant another number of threads, and both rows a reading of energy."""

            def append(self, kind: str, payload: dict[str, Any]) -> None:
                if "loaded" in payload:
                    facts = {**payload["loaded"]["facts"], "threads": 2 if payload["name"] == "pruned" else 1}
                    payload = {**payload, "loaded": {**payload["loaded"], "facts": facts}}
                if "memory" in payload:
                    joules = {"energy_j": 9.0, "energy_valid": True, "requests": 4, "output_tokens": 12,
                              "window_s": 1.5, "boundary": "CPU", "code": "ok", "reason": ""}  # fmt: skip
                    payload = {**payload, "energy": joules}
                journal.append(kind, payload)

        richer: Any = Richer()
        arm(richer, "baseline", 2.0)
        arm(richer, "pruned", 1.0)
        journal.append("run_finished", {})


def from_journals(out: Path, price: tuple[Any, ...]) -> dict[tuple[str, str], tuple[RunSummary, Row]]:
    """Every row of every run at another price, by the code that judges a run."""
    found = {}
    for directory in filter(is_run, out.iterdir()):
        record = load_record(directory)
        run = summarise(replace(record, price=new_price(record.price, *price)))
        found |= {(directory.name, row.title): (run, row) for row in run.rows}
    return found


@pytest.mark.parametrize("price", PRICES.values(), ids=PRICES)
def test_they_are_the_dollars_of_each_journal(out: Path, price: tuple[Any, ...]) -> None:
    expected = from_journals(out, price)
    found = list(repriced(Index(out).runs(Wanted()), lambda old: new_price(old, *price)))
    assert {(os.fsdecode(one.place), one.row.title) for one in found} == expected.keys()
    for one in found:
        run, row = expected[os.fsdecode(one.place), one.row.title]
        figure, ratio = row.figure(cost.PER_1K), run.comparison(row, cost.PER_1K)
        assert same(one.usd, figure and (figure.value, figure.ci_low, figure.ci_high)), one.row
        assert same(one.ratio, ratio and (ratio.ratio, ratio.ci_low, ratio.ci_high)), one.row


def same(found: Any, expected: tuple[float | None, ...] | None) -> bool:
    if found is None or expected is None:
        return found is None and expected is None
    return (found.value, found.low, found.high) == pytest.approx(expected, rel=1e-9)


def test_the_price_of_the_run_changes_nothing(out: Path) -> None:
    for one in repriced(Index(out).runs(Wanted()), lambda old: old):
        assert one.before is None or (one.usd and one.usd.value) == pytest.approx(one.before, rel=1e-9)


def test_a_price_of_other_hardware_is_said(out: Path) -> None:
    found = list(repriced(Index(out).runs(Wanted()), lambda old: price_block("h100-80gb", None, 1.0, TODAY)))
    measured = [one for one in found if one.usd is not None]
    assert measured
    assert all("measured on a CPU" in one.caution for one in measured)


def test_many_runs_in_little_time(tmp_path: Path) -> None:
    """Ten times what it takes once there is an index; a run at a time takes ten times as much again."""
    many_runs.write_runs(tmp_path, 300)
    Index(tmp_path)
    began = time.process_time()
    found: list[Repriced] = list(
        repriced(Index(tmp_path).runs(Wanted()), lambda old: new_price(old, None, 1.25, 0.5, TODAY))
    )
    assert time.process_time() - began < 0.6
    assert len(found) == 600
