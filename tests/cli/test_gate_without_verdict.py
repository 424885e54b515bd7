"""A gate that cannot judge says why where the reader of a CI job looks, and not in the log alone."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bench.cli import gate_actions, main
from bench.cli.gate_run import GateOptions
from bench.errors import BenchError, InterruptedRun, TerminatedRun, UsageError


def gate(config: Path, tmp_path: Path) -> None:
    options = GateOptions(tmp_path / "results", None, 40, None, (), ())
    gate_actions.gate(config, options, as_json=False, quiet=True)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of a job on GitHub."""
    found = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(found))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    return found


def test_a_config_that_is_wrong(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "ci.yaml"
    config.write_text("model: smollm2-135m\nmodle: x\n")
    with pytest.raises(UsageError):
        gate(config, tmp_path)
    said = f"{config}:2: modle: unknown key"
    assert page.read_text().startswith(f"### No verdict\n\n    {said}")
    assert capsys.readouterr().err.startswith(f"::error title=bench gate::{said}")


def test_what_a_message_holds_is_no_command_and_no_markdown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_arguments: object, **_options: Any) -> None:
        raise BenchError("pip failed:\n::set-output name=x::1\n# a heading")

    monkeypatch.setattr(gate_actions, "judged", fails)
    with pytest.raises(BenchError):
        gate(tmp_path / "ci.yaml", tmp_path)
    (command,) = capsys.readouterr().err.splitlines()
    assert command.startswith("::error title=bench gate::pip failed:%0A")
    lines = page.read_text().splitlines()
    assert all(line.startswith("    ") for line in lines[2:] if line)
    assert "::set-output" not in page.read_text()


def test_who_interrupts_knows_why(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_arguments: object, **_options: Any) -> None:
        raise InterruptedRun("interrupted")

    monkeypatch.setattr(gate_actions, "judged", stops)
    with pytest.raises(InterruptedRun):
        gate(tmp_path / "ci.yaml", tmp_path)
    assert not page.exists()


def test_a_job_that_took_too_long_is_told(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server ends it by SIGTERM, and who reads the page did not do that."""

    def ends(*_arguments: object, **_options: Any) -> None:
        raise TerminatedRun("terminated; what was measured is in results/x")

    monkeypatch.setattr(gate_actions, "judged", ends)
    with pytest.raises(TerminatedRun):
        gate(tmp_path / "ci.yaml", tmp_path)
    assert "terminated; what was measured is in results/x" in page.read_text()


def test_so_is_one_that_ended_before_anything_was_measured(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of a commit may take the whole time of the job."""

    def builds(*_arguments: object, **_options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr(gate_actions, "judged", builds)
    with pytest.raises(TerminatedRun), main._heeding_signals():
        gate(tmp_path / "ci.yaml", tmp_path)
    assert page.read_text() == "### No verdict\n\n    terminated\n\n"
