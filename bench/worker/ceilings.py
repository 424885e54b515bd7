"""Measure what this machine reaches at best: reading and copying memory, and products of matrices.

The figures are the denominators of ``mbu`` and ``mfu``; a data-sheet figure is never used. As a program
(``python -m bench.worker.ceilings THREADS DTYPE DEVICE``) it prints them as JSON, with the times of products
by their rows for estimates.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from time import perf_counter_ns, thread_time_ns
from typing import Any

from bench.engine import Engine
from bench.machine.proc import be_killed_first
from bench.records.json_form import Json

REPEATS = 5
BLOCK_BYTES, GPU_BLOCK_BYTES = 1 << 28, 1 << 30  # far larger than the caches, which may serve a part of less
MATRIX, GPU_MATRIX = 1024, 8192
WIDTHS, ROWS = (512, 2048), (1, 2, 4, 8, 16, 32, 128, 512)
LEAST_MATRICES = 4  # of many rows, whose weights are used so often that it matters little where they are

Synchronise = Callable[[], None]
Clock = Callable[[], int]


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
    with torch.inference_mode():
        read_s = _best(clock_ns, synchronise, block.sum)
        copy_s = _best(clock_ns, synchronise, lambda: target.copy_(block))
        left = torch.randn(size, size, device=device).to(of)
        product_s = _best(clock_ns, synchronise, lambda: left @ left)
        count = block_bytes // left.nbytes or 1
        matrices = [left.clone() for _ in range(count)]
        row = torch.randn(1, size, device=device).to(of)
        vector_s = _best(clock_ns, synchronise, lambda: [row @ matrix.T for matrix in matrices])
    return {
        "memory_bytes_per_s": block.nbytes / read_s,
        "copy_bytes_per_s": 2 * block.nbytes / copy_s,
        "matmul_flop_per_s": 2 * size**3 / product_s,
        "vector_bytes_per_s": count * left.nbytes / vector_s,
    }


def products(dtype: str, clock_ns: Clock = perf_counter_ns) -> Json:
    """Return the seconds for each weight of a product on the CPU, by the width of a square matrix and by the
    rows that are multiplied with it: ``widths``, ``rows``, and ``seconds`` with a list for each width.

    The products take turns over matrices that are larger than the caches together, as the layers of a model
    are. The best of five runs counts.
    """
    import torch
    from torch.nn.functional import linear

    def one(matrices: list[torch.Tensor], rows: int) -> float:
        left = torch.randn(rows, matrices[0].shape[0]).to(matrices[0].dtype)
        few = matrices[: max(len(matrices) // rows, LEAST_MATRICES)]
        spent_s = _best(clock_ns, lambda: None, lambda: [linear(left, matrix) for matrix in few])
        return spent_s / len(few) / float(few[0].numel())

    seconds = []
    with torch.inference_mode():
        for width in WIDTHS:
            first = torch.randn(width, width).to(getattr(torch, dtype))
            matrices = [first.clone() for _ in range(BLOCK_BYTES // first.nbytes)]
            seconds.append([one(matrices, rows) for rows in ROWS])
    return {"widths": list(WIDTHS), "rows": list(ROWS), "seconds": seconds}


def _best(clock_ns: Clock, synchronise: Synchronise, work: Callable[[], Any]) -> float:
    """Return the shortest of five runs in seconds, after one uncounted run."""
    work()
    synchronise()
    best = float("inf")
    for _ in range(REPEATS):
        start = clock_ns()
        work()
        synchronise()
        best = min(best, (clock_ns() - start) / 1e9)
    return best


def clock_of(device: str, threads: int) -> Clock:
    """Return the clock that other programs disturb least: the processor time of a single thread, else the
    time of day."""
    return thread_time_ns if device == "cpu" and threads == 1 else perf_counter_ns


def main(threads: str, dtype: str, device: str) -> None:
    """Print the rates of a device with so many threads, and on a CPU the times of products by their rows."""
    import torch

    torch.set_num_threads(int(threads))
    wait: Synchronise = (lambda: torch.cuda.synchronize(device)) if device != "cpu" else lambda: None
    clock_ns = clock_of(device, int(threads))
    by_rows = {"products": products(dtype, clock_ns)} if device == "cpu" else {}
    print(json.dumps({**rates(device, dtype, wait, clock_ns), **by_rows}))


if __name__ == "__main__":
    be_killed_first()
    main(*sys.argv[1:])
