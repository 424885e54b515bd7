"""How many metrics, limits and columns a run may have: each is a column of a table of all rows."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journals import write_run
from tampering import rechained, records_of

from bench.errors import IntegrityError, UsageError
from bench.report import formats
from bench.results import stored_gate
from bench.results.summary import RUN_JSON, SEAL, from_journal, load_run, sealed
from bench.stats.proportions import MOST_EXACT, mcnemar
from bench.store.files import digest
from bench.store.replay import JOURNAL


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def summary_with(run: Path, change: Any) -> None:
    content = json.loads((run / RUN_JSON).read_text())
    content.pop(SEAL)
    change(content)
    (run / RUN_JSON).write_text(json.dumps(sealed(content, run / JOURNAL)))


@pytest.mark.parametrize("where", ["metrics", "drift", "comparisons"])
def test_more_metrics_than_there_are(run: Path, where: str) -> None:
    def many(content: dict[str, Any]) -> None:
        names = [f"m{number}" for number in range(1001)]
        if where == "comparisons":
            content[where] = [{**content[where][0], "metric": name} for name in names]
        else:
            content["variants"][0][where] = dict.fromkeys(names)

    summary_with(run, many)
    with pytest.raises(IntegrityError, match="at most 1000 metrics"):
        load_run(run)


def test_more_columns_than_a_table_holds(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_run(run)
    assert len(formats.flat_rows([found])[0]) < formats.MOST_COLUMNS / 4
    monkeypatch.setattr(formats, "MOST_COLUMNS", 100)
    with pytest.raises(IntegrityError, match=r"columns are more than a table holds \(100\)"):
        formats.flat_rows([found])


def test_more_limits_than_there_are_metrics(run: Path) -> None:
    records = records_of(run)
    records[0]["spec"]["gate"] = {f"m{number}": {"max": 1.0} for number in range(501)}
    records[0]["spec_digest"] = digest(records[0]["spec"])
    rechained(run, records)
    with pytest.raises(IntegrityError, match=r"spec\.gate: Dictionary should have at most 500 items"):
        from_journal(run)


def test_more_limits_times_rows_than_a_gate_judges(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"kld_mean": {"max": 1.0}, "ppl": {"max": 9.0}}
    found = load_run(run)
    found = replace(found, spec={**found.spec, "gate": limits})
    assert len(stored_gate.judge_run(found).gate.rules) == 2  # type: ignore[union-attr]
    monkeypatch.setattr(stored_gate, "MOST_FINDINGS", 1)
    with pytest.raises(UsageError, match="2 limits on 1 rows are more than the 1 that a gate judges"):
        stored_gate.judge_run(found)


def test_two_baselines_of_a_journal(run: Path) -> None:
    """What no reader of ``run.json`` would take is not made of a journal either."""
    records = records_of(run)
    for record in records:
        if record.get("name") == "pruned" and record.get("started"):
            record["is_baseline"] = True
    rechained(run, records)
    (run / RUN_JSON).unlink()
    with pytest.raises(IntegrityError, match="two baselines in one cell"):
        from_journal(run)


@pytest.mark.parametrize("note", [{"new": 10**12, "gone": 10**11}, {"new": -1}, {"new": 0.5}])
def test_loops_that_nobody_counted(run: Path, note: dict[str, Any]) -> None:
    """The test of two counts sums as many terms as the smaller one says."""

    def counts(content: dict[str, Any]) -> None:
        figure = {"unit": "1", "higher_is_better": False, "formula": "", "ci_low": None, "ci_high": None}
        content["variants"][1]["metrics"]["collapsed_replies"] = {**figure, "value": 0.5, "n": 4, **note}

    summary_with(run, counts)
    with pytest.raises(IntegrityError, match=r"collapsed_replies\.new"):
        load_run(run)


def test_the_exact_test_of_many_items_is_quick() -> None:
    began = time.process_time()
    below, above = (mcnemar(n // 2 - 40, n // 2 + 40) for n in (MOST_EXACT, MOST_EXACT + 2))
    assert below == pytest.approx(above, rel=1e-3)
    assert mcnemar(400_000, 600_000) == pytest.approx(0, abs=1e-9)
    assert mcnemar(500_000, 500_000) == 1.0
    assert time.process_time() - began < 1
