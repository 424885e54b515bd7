"""scripts/quickstart reports the run that it made, and none where it made none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OLD = "20260101-000000-quickstart-aaaa"
NEW = "20260102-000000-quickstart-bbbb"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout with the result of an earlier run, and a stand-in for the environment."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "quickstart", tmp_path / "scripts")
    (tmp_path / "scripts" / "environment.sh").write_text("say() { :; }\nmake_environment() { :; }\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "results" / OLD).mkdir(parents=True)
    return tmp_path


def quickstart(place: Path, measuring: str) -> int:
    """Its exit code with a ``bench`` whose ``run`` does this."""
    bench = place / ".venv" / "bin" / "bench"
    bench.write_text(f'#!/bin/sh\ncase $1 in run) {measuring};; report) echo "$*" >> reported;; esac\n')
    bench.chmod(0o755)
    done = subprocess.run(["bash", str(place / "scripts" / "quickstart")], timeout=60, check=False)
    return done.returncode


def test_the_new_run_is_reported_with_its_exit_code(place: Path) -> None:
    assert quickstart(place, f"sleep 0.02; mkdir results/{NEW}; exit 5") == 5
    wanted = f"report results/{NEW} --format html -o results/{NEW}/report.html\n"
    assert (place / "reported").read_text() == wanted


@pytest.mark.parametrize("results", [True, False])
def test_a_run_that_made_no_directory_reports_no_old_one(place: Path, results: bool) -> None:
    if not results:
        shutil.rmtree(place / "results")
    assert quickstart(place, "exit 2") == 2
    assert not (place / "reported").exists()
