"""A training inside a worker whose threads are bound to processors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import run

CONFIG = """
name: trained
model: {random: tiny-llama}
runtime: {device: cpu, threads: 2}
workload: {name: fixed, input_tokens: 8, requests: 1, output_tokens: 2, warmup: 1}
variants:
  - name: trained
    optimise:
      - {prune: magnitude, sparsity: 0.3}
      - {distil: logits, steps: 2, batch: 1, tokens: 32, held_out: 1, evaluate_every: 1, precision: float32}
price: {usd_per_hour: 1}
drift: {tokens: 0}
measure: {processes: 1, max_rounds: 1}
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_a_training_takes_every_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP binds the worker's main thread to one of them, which then is all that the system says it has."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    config = tmp_path / "trained.yaml"
    config.write_text(CONFIG)
    found = run(config, out=tmp_path / "results")
    steps = found.data["variants"][1]["evidence"]["steps"]
    (bill,) = next(step["one_off"] for step in steps if step["step"] == "distil: logits")
    assert bill["details"]["processors"] == len(os.sched_getaffinity(0))
