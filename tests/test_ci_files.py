"""The GitHub action and the GitLab job: their own shell lines, with a ``bench`` that answers as told."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "actions" / "gate" / "action.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab" / "gate.yml").read_text())[".bench-gate"]


def stub(at: Path, line: str, code: int) -> dict[str, str]:
    """An environment in which ``bench`` notes its arguments, prints ``line`` and ends with ``code``."""
    at.mkdir(exist_ok=True)
    script = at / "bench"
    script.write_text(f'#!/bin/sh\necho "$@" >> "{at}/asked"\necho "{line}"\nexit {code}\n')
    script.chmod(0o755)
    return {"PATH": f"{at}:{os.environ['PATH']}", "HOME": str(at)}


def step(name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [one for one in ACTION["runs"]["steps"] if one["name"] == name]
    return found


@pytest.mark.parametrize(
    ("line", "code", "lenient", "ends"),
    [
        ("PASS  ci  (exit 0)", 0, "fail", 0),
        ("FAIL  ci  (exit 1)", 1, "pass", 1),
        ("INCONCLUSIVE  ci  (exit 3)", 3, "fail", 3),
        ("INCONCLUSIVE  ci  (exit 3)", 3, "pass", 0),
        ("SUSPECT  ci  (exit 7)", 7, "pass", 7),
    ],
)
def test_the_action_ends_as_the_gate_does(
    line: str, code: int, lenient: str, ends: int, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    given = {
        **stub(tmp_path / "bin", line, code), "GITHUB_OUTPUT": str(output), "CONFIG": "ci.yaml",
        "OUT": "results", "BASE": "origin/main", "CAP": "24", "ON_INCONCLUSIVE": lenient,
    }  # fmt: skip
    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step("Gate")["run"]]
    done = subprocess.run(script, env=given, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == ends, done.stderr
    assert output.read_text() == f"verdict={line.split()[0]}\n"
    asked = (tmp_path / "bin" / "asked").read_text()
    assert asked == "gate ci.yaml --out results --cap 24 --base origin/main\n"


def test_the_action_names_its_inputs() -> None:
    text = yaml.safe_dump(ACTION)
    used = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert used == set(ACTION["inputs"])
    assert all(one.get("shell") == "bash" for one in ACTION["runs"]["steps"] if "run" in one)


def test_a_re_run_finds_the_evidence_of_the_first() -> None:
    """Every attempt saves under a key of its own and restores the newest of the same commit."""
    cache = step("Keep results of this commit between attempts")["with"]
    assert cache["key"].endswith("${{ github.run_attempt }}")
    assert cache["key"].startswith(cache["restore-keys"].rstrip())


@pytest.mark.parametrize(("base", "asked"), [("", ""), ("origin/main", " --base origin/main")])
def test_the_gitlab_job(base: str, asked: str, tmp_path: Path) -> None:
    (tmp_path / "results" / "20260101-ci").mkdir(parents=True)
    given = {
        **stub(tmp_path / "bin", "FAIL  ci  (exit 1)", 1),
        "CONFIG": "ci.yaml",
        "BASE": base,
        "CAP": "40",
    }
    gate, report = GITLAB["script"][-1], GITLAB["after_script"][0]
    assert subprocess.run(["bash", "-c", gate], env=given, cwd=tmp_path).returncode == 1
    subprocess.run(["bash", "-c", report], env=given, cwd=tmp_path)
    lines = (tmp_path / "bin" / "asked").read_text().splitlines()
    assert lines[0] == f"gate ci.yaml --out results --cap 40{asked}"
    assert lines[1] == "report results/20260101-ci/ --format junit -o gate.xml"
    assert GITLAB["allow_failure"] == {"exit_codes": [3]}
