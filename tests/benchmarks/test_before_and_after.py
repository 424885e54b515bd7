"""A step before and after everything that the harness does to a process until its last timed pass.

The profiler is not part of it: it comes after the last timed pass. How much slower a step is after it is
measured too; on a CPU it leaves nothing behind, on CUDA it stays attached.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from bench.engine import Engine, Options
from bench.runtimes.transformers import load
from bench.worker import counters, joules, kernels, passes
from bench.workloads.chat import QUESTIONS

NEW_TOKENS, ROUNDS = 24, 12
Work = Callable[[Engine, list[list[list[int]]]], object]
DOES: dict[str, Work] = {
    "nothing": lambda engine, batches: None,
    "solo": lambda engine, batches: passes.solo(engine, batches, NEW_TOKENS),
    "device times": lambda engine, batches: passes.device_pass(engine, batches, NEW_TOKENS),
    "memory": lambda engine, batches: passes.memory_pass(engine, batches[0], NEW_TOKENS),
    "energy": lambda engine, batches: joules.measure(engine, batches[0], NEW_TOKENS),
    "count": lambda engine, batches: counters.count(engine, batches[0], NEW_TOKENS),
    "profile": lambda engine, batches: kernels.of_a_step(engine, batches[0], NEW_TOKENS, []),
}


def median_step_ms(engine: Engine, batch: list[list[int]]) -> float:
    steps = []
    for _ in range(ROUNDS):
        stamps = passes.timed_request(engine, batch, NEW_TOKENS).stamps_ns
        steps += [(b - a) / 1e6 for a, b in pairwise(stamps)]
    return statistics.median(steps)


@pytest.mark.parametrize("does", DOES)
def test_a_step_before_and_after(benchmark, model_directory: Path, does: str) -> None:
    device = os.environ.get("BENCH_TEST_DEVICE", "cpu")
    dtype = "float32" if device == "cpu" else "bfloat16"
    engine = load(
        model_directory, Options(device=device, dtype=dtype, threads=1 if device == "cpu" else None)
    )
    batches = [[engine.encode_chat(question)] for question in QUESTIONS[:4]]
    passes.warm_up(engine, batches[0], NEW_TOKENS, 2)
    before = median_step_ms(engine, batches[0])
    benchmark.pedantic(lambda: DOES[does](engine, batches), rounds=1)
    after = median_step_ms(engine, batches[0])
    benchmark.extra_info["after_over_before"] = after / before
    benchmark.extra_info["median_step_ms"] = (before, after)
    print(f"{does}: {before:.3f} ms before, {after:.3f} ms after, {after / before:.4f}")
