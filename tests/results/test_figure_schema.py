"""Every note of a figure that any page reads has a type in the schema of ``run.json``."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bench.gate.calibration import Calibration
from bench.gate.findings import Effort, Finding, GateBlock
from bench.metrics import cascade_curve, speculation, split
from bench.metrics.comparisons import Comparison
from bench.records import Facts, Kernel
from bench.results import schema
from bench.results.examples import Example
from bench.results.figure_schema import NEEDED, FigureBlock
from bench.results.row import Evidence, Row, WarmUpTimes
from bench.results.run_summary import RunSummary
from bench.results.schema import RowBlocks
from bench.store.gate_blocks import CalibrationBlock
from bench.store.row_blocks import KernelBlock
from bench.store.values import MOST_NAME, Block

ROOT = Path(__file__).resolve().parents[2] / "bench"
READERS = ("report", "results", "plan", "cli")
READ = re.compile(r'notes(?:\.get\(|\[)"(\w+)"')
OF_CASCADES = re.compile(r'_number\([^"\n]*"(\w+)"\)')
HEAD = {"unit": "1", "higher_is_better": None, "formula": "", "ci_low": None, "ci_high": None, "value": 0.5}
ROW: dict[str, Any] = {
    "name": "a", "group": "", "is_baseline": False, "status": "ok", "model": {}, "runtime": {},
    "workload": {}, "optimisations": [], "drift": {},
}  # fmt: skip


def notes_read() -> set[str]:
    found: set[str] = set()
    for file in (file for room in READERS for file in (ROOT / room).rglob("*.py")):
        found |= set(READ.findall(file.read_text(encoding="utf-8")))
    found |= set(OF_CASCADES.findall((ROOT / "plan" / "cascades.py").read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize(
    ("record", "block", "others"),
    [
        (Row, schema.RowBlocks, ()), (Evidence, schema.RowEvidence, ()), (Kernel, KernelBlock, ()),
        (Example, schema.ExampleBlock, ()), (Comparison, schema.RatioBlock, ()),
        (WarmUpTimes, schema.WarmUpBlock, ()),
        (Facts, schema.FactsBlock, ()), (Calibration, CalibrationBlock, ()), (Finding, schema.RuleBlock, ()),
        (Effort, schema.EffortBlock, ("details",)), (GateBlock, schema.Judged, ("effort",)),
        (RunSummary, schema.Summary, ("rows", "schema_version")),
    ],
)  # fmt: skip
def test_whatever_is_made_of_a_summary_has_a_type(record: Any, block: type[Block], others: Any) -> None:
    """``others`` have another name there, or are checked where they are read."""
    assert {part.name for part in fields(record)} - set(block.model_fields) == set(others)


def test_every_note_that_is_read_has_a_type() -> None:
    read = notes_read()
    assert {"curve", "gamma", "again", "power_usd_per_hour", "window_means"} <= read
    assert read - set(FigureBlock.model_fields) == set()


@pytest.mark.parametrize(
    "note",
    [
        {"curve": [[0, 0, 0, 0, 1e308]] * 2}, {"curve": [[0, 0, 0, 0]]}, {"curve": "x"}, {"here": [1]},
        {"curve": [[0, 0, 0, 0, 0]] * 1001}, {"suite": "two\nlines"}, {"suite": "x" * (MOST_NAME + 1)},
        {"again": "1"}, {"cut": []}, {"alone": 1e308}, {"edge_s": -1}, {"learnt": [[1, 2, 3, 4]]},
        {"escalated": "all"}, {"text_level": 1}, {"usd_per_hour": True},
    ],
)  # fmt: skip
def test_a_note_of_another_type_is_refused(note: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FigureBlock.model_validate({**HEAD, **note})
    FigureBlock.model_validate(HEAD)


@pytest.mark.parametrize("key", NEEDED)
def test_a_figure_says_what_its_page_says(key: str) -> None:
    whole = {**HEAD, **dict.fromkeys(NEEDED[key], 0.5)}
    RowBlocks.model_validate({**ROW, "metrics": {key: whole}})
    for note in NEEDED[key]:
        less = {name: value for name, value in whole.items() if name != note}
        with pytest.raises(ValidationError, match=f"{key} should say {note}"):
            RowBlocks.model_validate({**ROW, "metrics": {key: less}})


def test_the_figures_with_notes_are_those_of_today() -> None:
    assert set(NEEDED) == {speculation.SPEEDUP.key, split.STEP.key, split.PROMPT.key}
    assert cascade_curve.SHOWN_POINTS <= 1000
