"""The comparison of designs with plain loops, as far as a CPU can try it; a run of it takes minutes."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from loaded_script import loaded_script

from bench.config.reader import read_config
from bench.config.settings import MeasureBlock

DESIGNS = ("steps", "requests", "abba")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded_script("gpu-designs")


@pytest.mark.parametrize("design", DESIGNS)
def test_every_design_gets_the_same_rows(script: ModuleType, tmp_path: Path, design: str) -> None:
    file = tmp_path / "rows.yaml"
    file.write_text(json.dumps(script.config_of("cpu", "tiny-llama", 12, design)))
    spec = read_config(file, ())
    (group,) = spec.groups
    assert spec.measure == MeasureBlock(design=design)  # type: ignore[arg-type]
    same, eager = group.variants
    assert same.optimise == group.baseline.optimise != eager.optimise == ()


def test_a_plain_request_is_a_step_and_a_wait_for_each_token(script: ModuleType) -> None:
    log: list[str] = []

    def model(**given: Any) -> SimpleNamespace:
        log.append("prompt" if given["input_ids"].shape[1] > 1 else "step")
        return SimpleNamespace(logits=torch.zeros(1, 1, 7))

    cache = SimpleNamespace(reset=lambda: log.append("reset"))
    steps = script.one_request(model, model, cache, torch.ones(1, 5), lambda: log.append("wait"))
    assert len(steps) == script.OUT - 1
    assert log == ["reset", "prompt", "wait", *["step", "wait"] * (script.OUT - 1)]


def test_the_comparison_to_the_digit(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(script, "plain_steps", lambda *_: {"eager": 20.0, "compiled": 8.0})
    monkeypatch.setattr(script, "harness", lambda *_: {"eager": 2.55, "same": 1.001, "step_ms": 8.08})
    script.main(["--device", "cpu", "--model", "tiny-llama", "--json", str(tmp_path / "found.json")])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "plain loops: eager 20.000 ms, compiled 8.000 ms, ratio 2.500"
    assert told[1] == (
        "requests: eager ÷ compiled 2.550 (+2.0% of plain), same 1.0010, compiled ÷ its plain loop 1.010"
    )
    assert [line.partition(":")[0] for line in told[1:]] == ["requests", "abba", "steps"]
    assert set(json.loads((tmp_path / "found.json").read_text())["designs"]) == set(DESIGNS)
