"""``bench export``: what is written loads again as an ordinary checkpoint, or nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from bench.errors import BenchError, UsageError
from bench.runs.export import export

CONFIG = """
name: small
model: {random: tiny-llama}
runtime: {device: cpu, threads: 1}
workload: {requests: 1, output_tokens: 2}
variants:
  - {name: one-layer, optimise: [{prune: depth, keep_layers: 1, by: last}]}
  - {name: packed, optimise: [{quantise: torch-int8-dynamic}]}
price: {usd_per_hour: 1}
drift: {tokens: 0}
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """As far as an export looks at it."""
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "spec.yaml").write_text(CONFIG)
    return directory


def test_a_pruned_model_is_an_ordinary_checkpoint(run: Path, tmp_path: Path) -> None:
    said: list[str] = []
    to = export(run, "one-layer", tmp_path / "out", said.append)
    model = transformers.AutoModelForCausalLM.from_pretrained(to)
    assert model.config.num_hidden_layers == len(model.model.layers) == 1
    assert model(torch.arange(5)[None]).logits.isfinite().all()
    about = json.loads((to / "bench-export.json").read_text())
    assert about["variant"] == "one-layer"
    assert about["logits_apart"] <= 1e-4
    assert about["parameters"] == sum(one.numel() for one in model.parameters())
    assert said
    assert not list(tmp_path.glob(".out*"))


def test_packed_weights_are_refused_and_nothing_is_left(run: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"its weights are packed \(qint8\): an export is of dense weights"):
        export(run, "packed", tmp_path / "out", lambda _text: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_what_is_not_there(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'one-layer'"):
        export(run, "one-laier", tmp_path / "out", lambda _text: None)
    with pytest.raises(UsageError, match="not the directory of a run"):
        export(tmp_path, "one-layer", tmp_path / "out", lambda _text: None)
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export(run, "one-layer", tmp_path / "out", lambda _text: None)
