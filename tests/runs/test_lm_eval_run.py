"""A run whose rows answer a task of lm-eval, from the config to ``run.json`` and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from task_files import CLOSED, OPEN, write_task

from bench.cli.check import describe
from bench.config.reader import read_config
from bench.machine import noise
from bench.results.summary import load_run
from bench.results.verify import verify_run
from bench.runs.run import run_spec

pytest.importorskip("lm_eval", reason="needs lm-eval: pip install 'inference-cost-bench[lm-eval]'")


def test_lm_eval_judges_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "disturbed", lambda *_ticks: False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    tasks = [str(write_task(tmp_path, text, name)) for text, name in ((CLOSED, "closed"), (OPEN, "open"))]
    config = {
        "name": "tasks",
        "model": "tiny-gemma3",
        "runtime": {"device": "cpu", "threads": 1},
        "workload": {"name": "chat", "requests": 2, "output_tokens": 4},
        "variants": [{"name": "same"}, {"name": "bf16", "runtime": {"dtype": "bfloat16"}}],
        "price": {"hardware": "cloud-2vcpu-8gb"},
        "drift": {"tokens": 0, "suites": [{"lm_eval": tasks, "limit": 8}]},
        "measure": {"processes": 1, "max_rounds": 1},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    spec = read_config(file)
    assert "lm-eval closed (8), lm-eval open (8)" in " ".join(describe(spec).split())
    directory = run_spec(spec, tmp_path)
    found = load_run(directory)
    assert found.reasons == ()
    assert found.status == "ok"
    base, same, bf16 = found.rows
    for row in found.rows:
        accuracy = row.figure("lm_eval_accuracy")
        assert accuracy is not None
        assert accuracy.notes["n"] == 16
        assert accuracy.notes["tasks"]["closed"]["version"] == 2.0
        assert row.figure("lm_eval_closed_accuracy") is not None
    change = same.figure("lm_eval_change")
    assert change is not None
    assert (change.value, change.notes["lost"], change.notes["gained"]) == (0, 0, 0)
    assert base.figure("lm_eval_change") is None
    assert bf16.figure("lm_eval_open_change") is not None
    assert {one.suite for one in found.behaviour["", "same"]} == {
        "lm-eval, all tasks", "lm-eval closed", "lm-eval open",
    }  # fmt: skip
    verify_run(directory)
