"""scripts/kill-trials in short: four kills at random moments, and that it would see what a kill broke."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from loaded_script import loaded_script

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "kill-trials"


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    return loaded_script("kill-trials")


@pytest.mark.fault(8, 9)
def test_four_kills_lose_nothing(tmp_path: Path) -> None:
    """In a process of its own, which forks; a second call has nothing left to do."""
    command = [sys.executable, str(SCRIPT), "--kills", "4", "--seed", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert sum(len(line["kills"]) for line in lines) == 4
    again = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    assert again.stdout.startswith("4 kills in ")
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == len(lines)


def test_a_figure_that_changed_is_seen(trials: ModuleType) -> None:
    run = {"run_id": "1", "rows": [{"load_s": 1.0, "tpot_ms": {"mean": 2.0}}]}
    same = {"run_id": "2", "rows": [{"load_s": 3.0, "tpot_ms": {"mean": 2.0}}]}
    other = {"run_id": "1", "rows": [{"load_s": 1.0, "tpot_ms": {"mean": 2.5}}]}
    assert list(trials.differences(trials.plain(run), trials.plain(same))) == []
    assert list(trials.differences(trials.plain(other), trials.plain(run))) == [
        ".rows[0].tpot_ms.mean: 2.5 instead of 2.0"
    ]
    assert list(trials.differences({"a": [1]}, {"a": [1, 2]})) == [".a: [1] instead of [1, 2]"]


def test_a_record_that_is_gone_is_seen(trials: ModuleType, tmp_path: Path) -> None:
    from journals import write_run

    run = write_run(tmp_path / "run")
    records = trials.looked_at(run, ())
    assert trials.looked_at(run, records[:5]) == records
    with pytest.raises(trials.Fault, match="gone"):
        trials.looked_at(run, (*records, {"kind": "arm"}))


def test_two_runs_where_one_was_continued_are_seen(trials: ModuleType, tmp_path: Path) -> None:
    from journals import write_run

    assert trials.directory_in(tmp_path / "none") is None
    (tmp_path / "out" / "begun").mkdir(parents=True)
    assert trials.directory_in(tmp_path / "out") is None
    write_run(tmp_path / "out" / "1")
    assert trials.directory_in(tmp_path / "out") == tmp_path / "out" / "1"
    write_run(tmp_path / "out" / "2")
    with pytest.raises(trials.Fault, match="2 runs"):
        trials.directory_in(tmp_path / "out")
