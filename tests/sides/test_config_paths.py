"""A server's engine in a side: the interpreter that starts it, and what keeps a row from being measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config.reader import read_config
from bench.config.spec import Arm
from bench.sides import config_paths
from bench.sides.build import Built

CONFIG = """
model: smollm2-135m
runtime: {name: vllm}
workload: {name: closed-loop, users: 1, requests: 6, input_tokens: 8, output_tokens: 8}
"""


def baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str | None, lacks: str | None) -> Arm:
    """Return a row of vLLM; the side finds the engine by ``python``, and the harness ``lacks`` a package."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    spec = read_config(tmp_path / "config.yaml")
    (tmp_path / "venv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    monkeypatch.setattr(config_paths, "interpreter_of_side", lambda adapter, own: python)
    monkeypatch.setattr(config_paths, "missing", lambda module: lacks)
    return config_paths.placed(spec, Built(tmp_path, tmp_path, tmp_path), tmp_path).groups[0].baseline


def test_an_engine_that_the_side_finds_makes_its_row_supported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = baseline(tmp_path, monkeypatch, "/env/bin/python", None)
    assert (arm.runtime.python, arm.unsupported) == ("/env/bin/python", None)


def test_a_package_that_the_harness_lacks_is_still_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = baseline(tmp_path, monkeypatch, "/env/bin/python", "needs the package httptools")
    assert arm.unsupported == "needs the package httptools"


def test_an_engine_that_is_nowhere_keeps_its_reason(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = baseline(tmp_path, monkeypatch, None, None)
    assert arm.runtime.python is None
    assert "bench env make vllm" in (arm.unsupported or "")
