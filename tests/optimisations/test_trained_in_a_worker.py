"""A training inside a worker whose threads are bound to processors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from engines import told

from bench.measure.worker_process import WorkerProcess
from bench.models.fetch import ensure
from bench.models.reference import Random

A_LITTLE = {"steps": 2, "batch": 1, "tokens": 32, "held_out": 1, "evaluate_every": 1, "precision": "float32"}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_a_training_takes_every_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP binds the worker's main thread to one of them, which then is all that the system says it has."""
    directory = str(ensure(Random("tiny-llama")).directory)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    steps = [told("prune", "magnitude", {"sparsity": 0.3}), told("distil", "logits", A_LITTLE)]
    options = {"device": "cpu", "dtype": "float32", "threads": 2, "attention": "sdpa", "random": True}
    with WorkerProcess("trained", tmp_path / "log", threads=2) as worker:
        found = worker.ask(
            "load", 120.0, directory=directory, runtime="bench.runtimes.transformers", options=options,
            optimise=steps,
        )  # fmt: skip
    (bill,) = next(step["one_off"] for step in found["evidence"] if step["step"] == "distil: logits")
    assert bill["details"]["processors"] == len(os.sched_getaffinity(0))
