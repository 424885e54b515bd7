"""Benchmarks, not tests: ``pytest tests/benchmarks --benchmark-only``. They print figures and assert nothing
about time; figures and command go to results/LOG.md. Run them on a machine that does nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.measure.worker_process import WorkerProcess
from bench.models.fetch import ensure
from bench.models.reference import Named
from bench.workloads.chat import QUESTIONS

THREADS = 2


@pytest.fixture(scope="session")
def model_directory() -> Path:
    return ensure(Named("smollm2-135m")).directory


@pytest.fixture
def workers(model_directory: Path, tmp_path: Path) -> Iterator[tuple[WorkerProcess, WorkerProcess]]:
    """float32 and bfloat16, loaded, warmed up, as a run would have them."""
    made = []
    for dtype in ("float32", "bfloat16"):
        worker = WorkerProcess(dtype, tmp_path / f"{dtype}.log", threads=THREADS).__enter__()
        made.append(worker)
        options = {"device": "cpu", "dtype": dtype, "threads": THREADS, "attention": "sdpa"}
        worker.ask(
            "load",
            300,
            directory=str(model_directory),
            runtime="bench.runtimes.transformers",
            options=options,
            optimise=[],
        )
        prompts = [{"text": text, "chat": True, "tokens": None} for text in QUESTIONS[:8]]
        worker.ask("prompts", 60, prompts=prompts, batch_size=1, output_tokens=24)
        worker.ask("warm_up", 300, least=2)
    yield made[0], made[1]
    for worker in made:
        worker.close()
