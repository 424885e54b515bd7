"""`bench verify` of a load: what was written holds, and whatever was changed afterwards is found."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from samples_of_serving import sample

from bench.cli.main import main
from bench.errors import ExitCode, IntegrityError
from bench.metrics.requests import Limits
from bench.records.loads import ClientOverhead
from bench.serving import record
from bench.serving.load import INTERRUPTED, Load
from bench.serving.load_verification import is_load, verify_load
from bench.store.journal import Journal, read_journal

OWN_KEYS = ("kind", "seq", "prev", "at_utc", "check")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    load = Load((sample(), sample(1, scheduled=50)), ClientOverhead(0, 0, 0, 0, 0, 0, "asyncio"))
    done = record.result({"target": "x", "model": "y", "schedule": "z"}, load, Limits({"ttft": 500}), None)
    record.write(tmp_path, done, lambda: "2026-11-27T00:00:00Z", None)
    return tmp_path


def test_what_was_written_holds(written: Path) -> None:
    assert is_load(written)
    assert "figure by figure, from 2 requests" in verify_load(written)


def test_a_directory_of_something_else(tmp_path: Path) -> None:
    assert not is_load(tmp_path)


def better_ttft(summary: dict) -> None:  # type: ignore[type-arg]
    summary["figures"]["ttft_ms"]["mean"] = 1.0


def no_failures(summary: dict) -> None:  # type: ignore[type-arg]
    summary["counts"]["ok"] = 3


def another_server(summary: dict) -> None:  # type: ignore[type-arg]
    summary["target"] = "elsewhere"


def one_figure_less(summary: dict) -> None:  # type: ignore[type-arg]
    del summary["figures"]["error_rate"]


@pytest.mark.parametrize(
    ("change", "where"),
    [(better_ttft, "figures.ttft_ms.mean"), (no_failures, "counts.ok"), (another_server, "target"),
     (one_figure_less, "figures.error_rate")],
)  # fmt: skip
def test_a_changed_summary_is_found(written: Path, change, where: str) -> None:  # type: ignore[no-untyped-def]
    path = written / "load.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))
    with pytest.raises(IntegrityError, match=re.escape(where)):
        verify_load(written)


def test_a_changed_journal_is_found(written: Path) -> None:
    path = written / "journal.jsonl"
    path.write_text(path.read_text().replace('"status":"ok"', '"status":"no"', 1))
    with pytest.raises(IntegrityError):
        verify_load(written)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_a_summary_that_is_no_json(written: Path, text: str) -> None:
    (written / "load.json").write_text(text)
    with pytest.raises(IntegrityError, match="is not JSON"):
        verify_load(written)


def rewritten(directory: Path, kind: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a record of a load, with a sound chain around it: whoever owns a directory can do so."""
    records = read_journal(directory / "journal.jsonl").records
    (directory / "journal.jsonl").unlink()
    with Journal.create(directory / "journal.jsonl", lambda: "2026-11-27T00:00:00Z") as journal:
        for one in records:
            payload = {key: value for key, value in one.items() if key not in OWN_KEYS}
            if one["kind"] == kind:
                change(payload)
            journal.append(str(one["kind"]), payload)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("samples", lambda one: one["samples"][0].update(tokens=[1, 10**12, 1, 1])),
        ("samples", lambda one: one["samples"][0].update(tokens=[1, 1, 1, -1])),
        ("samples", lambda one: one["samples"][0].update(tokens=[], events_ns=[])),
        ("samples", lambda one: one["samples"][0].update(events_ns=["x"] * 4)),
        ("samples", lambda one: one["samples"][0].update(sent_ns=None)),
        ("samples", lambda one: one["samples"].append(5)),
        ("samples", lambda one: one.update(samples={"a": 1})),
        ("load", lambda one: one.update(slo=["x"])),
        ("load", lambda one: one.update(slo={"ttft": "x"})),
        ("load", lambda one: one.update(price={"kind": []})),
        ("load", lambda one: one.update(head=5)),
        ("load", lambda one: one["head"].update(prefix_cache={"hits": "x", "queries": []})),
        ("load", lambda one: one["head"].update(workload=5)),
        ("load", lambda one: one["head"].update(search={"steps": 5})),
        ("load", lambda one: one["head"].update(settings={"speed": 5})),
        ("end", lambda one: one.update(client={"late": 5})),
        ("end", lambda one: one["client"].update(cpu_share="x")),
    ],
)
def test_a_load_of_somebody_else_is_data(
    written: Path,
    kind: str,
    change: Callable[[dict[str, Any]], object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is refused or computed, with no traceback, and with no list of as many times as a number says."""
    rewritten(written, kind, change)
    for command in ("load", "verify"):
        monkeypatch.setattr(sys, "argv", ["bench", command, str(written)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (None, ExitCode.OK, ExitCode.USAGE, ExitCode.INTEGRITY)
        assert "bug" not in capsys.readouterr().err
    assert ended.value.code == ExitCode.INTEGRITY


def test_a_load_that_was_interrupted_and_called_invalid_still_verifies(tmp_path: Path) -> None:
    """That was its status until November 2026."""
    load = Load((sample(),), ClientOverhead(0, 0, 0, 0, 0, 0, "asyncio"), INTERRUPTED)
    done = record.result({"target": "x", "model": "y", "schedule": "z"}, load, Limits({}), None)
    record.write(tmp_path, done, lambda: "2026-11-27T00:00:00Z", None)
    path, said = tmp_path / record.SUMMARY, '"status": "interrupted"'
    whole = path.read_text()
    assert said in whole
    path.write_text(whole.replace(said, '"status": "invalid"'))
    assert "figure by figure" in verify_load(tmp_path)
    path.write_text(whole.replace(said, '"status": "ok"'))
    with pytest.raises(IntegrityError, match="status"):
        verify_load(tmp_path)
