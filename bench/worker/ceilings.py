"""Measure what this machine reaches at best: reading and copying memory, and products of matrices.

The figures are the denominators of ``mbu`` and ``mfu``; a data-sheet figure is never used. As a program
(``python -m bench.worker.ceilings THREADS DTYPE DEVICE CONFIGS``) it prints them as JSON, on a CPU with the
parts of a pass for estimates (see ``pass_parts.py``). CONFIGS are those of narrow models, in JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns, thread_time_ns

from bench.engine import Engine
from bench.machine.proc import be_killed_first
from bench.worker import pass_parts
from bench.worker.pass_parts import BLOCK_BYTES, Clock, Synchronise, best

GPU_BLOCK_BYTES = 1 << 30
MATRIX, GPU_MATRIX = 1024, 8192
GPU_CALLS = 8  # between two waits for the GPU


def measure(engine: Engine) -> dict[str, float]:
    """Return the rates on the engine's device and threads, in the model's dtype (see ``rates``); none in an
    environment without torch, with which they are measured: an engine may do without it."""
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is None:
        return {}
    facts = engine.facts()
    return rates(facts.device, facts.dtype, engine.synchronise)


def rates(
    device: str, dtype: str, synchronise: Synchronise, clock_ns: Clock = perf_counter_ns
) -> dict[str, float]:
    """Return the best rate of five runs of each.

    ``memory_bytes_per_s`` sums a block far larger than the caches, ``copy_bytes_per_s`` copies it (it is read
    and written). ``matmul_flop_per_s`` multiplies square matrices. ``vector_bytes_per_s`` multiplies one row
    by many matrices, which is what decoding does: bytes of weights per second. The last two are in ``dtype``.
    """
    import torch

    of, gpu = getattr(torch, dtype), device != "cpu"
    block_bytes, size = (GPU_BLOCK_BYTES, GPU_MATRIX) if gpu else (BLOCK_BYTES, MATRIX)
    block = torch.ones(block_bytes // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(block)
    best_s = partial(_best_s, clock_ns, synchronise, GPU_CALLS if gpu else 1)
    with torch.inference_mode():
        read_s = best_s(block.sum)
        copy_s = best_s(lambda: target.copy_(block))
        left = torch.randn(size, size, device=device).to(of)
        product_s = best_s(lambda: left @ left)
        count = block_bytes // left.nbytes or 1
        matrices = [left.clone() for _ in range(count)]
        row = torch.randn(1, size, device=device).to(of)
        vector_s = best_s(lambda: [row @ matrix.T for matrix in matrices])
    return {
        "memory_bytes_per_s": block.nbytes / read_s,
        "copy_bytes_per_s": 2 * block.nbytes / copy_s,
        "matmul_flop_per_s": 2 * size**3 / product_s,
        "vector_bytes_per_s": count * left.nbytes / vector_s,
    }


def _best_s(clock_ns: Clock, synchronise: Synchronise, calls: int, work: Callable[[], object]) -> float:
    """Return the shortest time of one call in seconds. A GPU gets several at once: it reads a block in a
    quarter of a millisecond, and a launch and the wait behind it would be a tenth of that."""
    return best(clock_ns, lambda: [work() for _ in range(calls)], synchronise=synchronise) / calls


def clock_of(device: str, threads: int) -> Clock:
    """Return the clock that other programs disturb least: the processor time of a single thread, else the
    time of day."""
    return thread_time_ns if device == "cpu" and threads == 1 else perf_counter_ns


def main(threads: str, dtype: str, device: str, narrow: str) -> None:
    """Print the rates of a device with so many threads, and on a CPU the times of the parts of a pass."""
    import torch

    torch.set_num_threads(int(threads))
    wait: Synchronise = (lambda: torch.cuda.synchronize(device)) if device != "cpu" else lambda: None
    clock_ns = clock_of(device, int(threads))
    parts = pass_parts.measure(dtype, json.loads(narrow), clock_ns) if device == "cpu" else None
    print(json.dumps({**rates(device, dtype, wait, clock_ns), "parts": parts}))


if __name__ == "__main__":
    be_killed_first()
    main(*sys.argv[1:])
