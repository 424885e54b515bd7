"""Measure this machine's best memory bandwidth and matrix-product rate.

They are the denominators of ``mbu`` and ``mfu``; a data-sheet figure is never used.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from bench.engine import Engine

REPEATS = 5


def measure(engine: Engine) -> dict[str, float]:
    """Return bytes read per second and float operations per second, each the best of five runs. The first
    sums a block far larger than the caches; the second multiplies square matrices in the model's dtype."""
    import torch

    facts = engine.facts()
    device, dtype = facts.device, getattr(torch, facts.dtype)
    cuda = device != "cpu"
    block = torch.ones((1 << 30 if cuda else 1 << 28) // 4, dtype=torch.float32, device=device)
    read_s = _best(engine, lambda: block.sum())
    size = 8192 if cuda else 1024
    left = torch.randn(size, size, device=device).to(dtype)
    product_s = _best(engine, lambda: left @ left)
    return {
        "memory_bytes_per_s": block.numel() * 4 / read_s,
        "matmul_flop_per_s": 2 * size**3 / product_s,
    }


def _best(engine: Engine, work: Any) -> float:
    """Return the shortest of five runs in seconds, after one uncounted run."""
    work()
    engine.synchronise()
    best = float("inf")
    for _ in range(REPEATS):
        start = perf_counter_ns()
        work()
        engine.synchronise()
        best = min(best, (perf_counter_ns() - start) / 1e9)
    return best
