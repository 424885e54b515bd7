"""Every report shows every kind of run: the prices × the ways in which a run ends × the formats."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from journals import HEAD, MODEL, SPEC, arm, clock, write_journal
from rich.console import Console

from bench import plugins
from bench.config.settings import RuntimeBlock, WorkloadBlock
from bench.errors import Outcome
from bench.pricing.reprice import price_block
from bench.report.formats import csv, harmless, html, jsonl, junit, latex, markdown
from bench.report.table import render
from bench.results.run_summary import RunSummary
from bench.results.summary import from_journal
from bench.store.journal import Journal
from bench.store.replay import JOURNAL

TODAY = "2026-01-31"
PRICES = {
    "cpu": ("cloud-2vcpu-8gb", None, None),
    "gpu": ("h100-80gb", None, None),
    "owned cpu": ("own-2core-desktop", None, None),
    "owned gpu": ("own-gpu-workstation", None, None),
    "dollars": (None, 0.5, None),
    "dollars for vCPUs": (None, 0.5, 4),
}
WORDS = (csv, html, jsonl, junit, latex, markdown)


def started(journal: Journal, name: str) -> None:
    journal.append(
        "arm",
        {
            "group": "", "name": name, "started": True, "is_baseline": name == "baseline", "model": MODEL,
            "runtime": RuntimeBlock(device="cpu").model_dump(), "optimise": [],
            "workload": WorkloadBlock(**SPEC["workload"]).to_json(),
        },
    )  # fmt: skip


def ended(journal: Journal, name: str, status: str) -> None:
    journal.append("arm", {"group": "", "name": name, "status": status, "reason": f"it was {status}"})


def whole(journal: Journal) -> None:
    arm(journal, "baseline", 2.0)
    arm(journal, "pruned", 1.0)
    journal.append("run_finished", {})


def cut_short(journal: Journal) -> None:
    arm(journal, "baseline", 2.0)
    started(journal, "pruned")


def nothing_yet(journal: Journal) -> None:
    started(journal, "baseline")


def a_failed_variant(journal: Journal) -> None:
    arm(journal, "baseline", 2.0)
    arm(journal, "pruned", 1.0)
    ended(journal, "pruned", "timeout")
    journal.append("run_finished", {})


def a_failed_baseline(journal: Journal) -> None:
    arm(journal, "baseline", 2.0)
    arm(journal, "pruned", 1.0)
    ended(journal, "baseline", "oom_host")
    ended(journal, "pruned", "baseline_failed")
    journal.append("run_finished", {})


def without_drift(journal: Journal) -> None:
    arm(journal, "baseline", 2.0)
    journal.append("run_finished", {})


KINDS: tuple[Callable[[Journal], None], ...] = (
    whole, cut_short, nothing_yet, a_failed_variant, a_failed_baseline, without_drift,
)  # fmt: skip


def made(directory: Path, kind: Callable[[Journal], None], price: dict[str, Any], **head: Any) -> RunSummary:
    with Journal.create(directory / JOURNAL, clock) as journal:
        text = {"name": "english", "sha256": "01" * 32}
        journal.append("run_started", {**HEAD, "machine": {}, "text": text, "price": price, **head})
        kind(journal)
    return from_journal(directory)


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_is_shown(tmp_path: Path, kind: Callable[[Journal], None], price: str) -> None:
    hardware, usd, vcpus = PRICES[price]
    run = made(tmp_path, kind, price_block(hardware, usd, 0.5, TODAY, vcpus))
    for name in plugins.names("report.formats"):
        module = plugins.load("report.formats", name)
        if not plugins.missing_packages(module):
            assert module.render([run])
    with Console(record=True, width=160) as console:
        render(run, console)
    assert "demo" in console.export_text()
    assert RunSummary.from_json(run.to_json()).to_json() == run.to_json()


@pytest.mark.parametrize("kind", [a_failed_variant, a_failed_baseline], ids=lambda kind: kind.__name__)
def test_a_row_that_is_not_ok_has_no_figure_no_verdict_and_no_star(
    tmp_path: Path, kind: Callable[[Journal], None]
) -> None:
    run = made(tmp_path, kind, price_block("cloud-2vcpu-8gb", None, 1.0, TODAY))
    (row,) = [one for one in run.rows if one.name == "pruned"]
    assert not row.ok
    assert [figure for _key, figure in row.figures() if figure is not None] == []
    assert run.ratios_of(row) == []
    assert not run.on_front(row)
    (flat,) = [one for one in run.flat_rows() if one["name"] == "pruned"]
    assert {value for key, value in flat.items() if isinstance(value, float)} == set()
    for module in WORDS:
        found = module.render([run])
        said = re.sub(r"<style>.*?</style>|<[^>]*>", " ", found, flags=re.DOTALL) if module is html else found
        assert not {"better", "worse"} & set(re.findall("[a-z]+", said.replace("is better", ""))), (
            module.SUFFIX
        )
        assert "pruned *" not in found


def test_figures_that_an_earlier_version_gave_to_failed_rows_are_left_out(sample: ModuleType) -> None:
    content = sample.rich_run()
    for row in content["variants"]:
        if row["name"] == "bf16":
            row["status"] = Outcome.TIMEOUT
    run = sample.summary(content)
    (row,) = [one for one in run.rows if one.name == "bf16"]
    assert not any(figure for _key, figure in row.figures())
    assert run.ratios_of(row) == []
    assert [one.name for one in run.rows if run.on_front(one)] != ["bf16"]


@cache
def large(sample: ModuleType, rows: int) -> RunSummary:
    """A run of so many rows, of which every tenth is on the front."""
    names = [f"variant-{number}" for number in range(rows - 1)]
    made = [
        sample.drifting(sample.variant(name, 0.5), 0.001 + number / rows) for number, name in enumerate(names)
    ]
    ratios = [
        sample.ratio(name, 0.9 - number / (2 * rows), 0.8 - number / (2 * rows), 0.95, "better")
        for number, name in enumerate(names)
    ]
    run = sample.summary(sample.run([sample.baseline(), *made], ratios))
    assert isinstance(run, RunSummary)
    return run


@pytest.mark.parametrize("name", [*plugins.names("report.formats"), "the table"])
def test_the_time_of_a_report_grows_with_its_rows_and_no_faster(sample: ModuleType, name: str) -> None:
    """Four times the rows took sixteen times as long when the front was computed once for each cell."""

    def seconds(run: RunSummary) -> float:
        began = time.process_time()
        if name == "the table":
            with Console(record=True, width=200) as console:
                render(run, console)
        else:
            module.render([run])
        return time.process_time() - began

    module = plugins.load("report.formats", name) if name != "the table" else csv
    if plugins.missing_packages(module):
        pytest.skip("needs a package that is not here")
    few, many = large(sample, 100), large(sample, 400)
    seconds(few)
    least = min(seconds(replace(few)) for _ in range(3))
    assert min(seconds(replace(many)) for _ in range(3)) < 8 * least + 0.05


def test_the_front_is_that_of_every_pair(sample: ModuleType) -> None:
    run = large(sample, 60)
    rows = [(run.comparison(row, "cost_per_1k_tokens_usd"), row) for row in run.rows]
    points = [(1.0, 0.0, "baseline")] + [
        (ratio.ratio, row.figure("kld_mean").value, row.name) for ratio, row in rows if ratio
    ]
    expected = {
        name
        for ratio, kl, name in points
        if not any(r <= ratio and d <= kl and (r, d) != (ratio, kl) for r, d, _ in points)
    }
    assert run.fronts[""] == expected


def test_journals_of_the_tests_are_what_a_run_writes(tmp_path: Path) -> None:
    write_journal(tmp_path)
    assert from_journal(tmp_path).status == "ok"


def test_the_columns_of_a_page_are_found_once(sample: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each row, for which every row was looked at."""
    found: list[RunSummary] = []
    real = html.columns_of
    monkeypatch.setattr(html, "columns_of", lambda run: (found.append(run), real(run))[1])
    html.render([large(sample, 20)])
    assert len(found) == 1


def test_what_needs_no_cleaning_is_not_copied(sample: ModuleType) -> None:
    figure = next(figure for figure in large(sample, 3).rows[1].metrics.values() if figure)
    assert harmless(figure) is figure
    assert harmless(replace(figure, unit="a\x1b[31m")).unit == "a�[31m"
