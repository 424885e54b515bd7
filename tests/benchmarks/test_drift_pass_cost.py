"""What comparing outputs costs beside two bare forward passes over the same tokens, and in memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from bench import plugins
from bench.machine.proc import text_of
from bench.measure.together import ask_both, shared_block
from bench.measure.token_drift import SHARED_BYTES
from bench.measure.worker_environment import worker_environment
from bench.texts import mixed

WINDOW, WINDOWS, VOCABULARY = 256, 16, 49152
BARE = Path(__file__).with_name("bare.py")


def bare_s(model_directory: Path, dtype: str) -> float:
    command = [sys.executable, str(BARE), "forward", str(model_directory), dtype, str(WINDOWS), str(WINDOW)]
    done = subprocess.run(command, env=worker_environment(2), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def status_kib(pid: int, field: str) -> int:
    lines = (text_of(Path(f"/proc/{pid}/status")) or "").splitlines()
    assert lines, "the worker is gone"
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


@pytest.mark.parametrize("names", [(), plugins.names("drift.statistics")], ids=["default", "all statistics"])
def test_drift_beside_bare_forward_passes(
    benchmark, workers, model_directory: Path, names: tuple[str, ...]
) -> None:
    more = {name: plugins.module_name("drift.statistics", name) for name in names}
    rows = SHARED_BYTES // (4 * VOCABULARY)
    block = shared_block(rows * VOCABULARY * 4)
    for worker in workers:
        worker.ask("corpus", 60, text=mixed.read())
    starts = [i * 1000 for i in range(WINDOWS)]
    ratios: list[float] = []
    grown_mib: dict[int, float] = {}

    def score(count: int) -> float:
        before = [status_kib(worker.pid, "VmRSS") for worker in workers]
        for worker in workers:
            Path(f"/proc/{worker.pid}/clear_refs").write_text("5")
        begin = perf_counter()
        ask_both(
            "score", *workers, 600, shared=block, starts=(starts * 8)[:count], window=WINDOW, rows=rows,
            vocabulary=VOCABULARY, ahead=False, more=more,
        )  # fmt: skip
        took = perf_counter() - begin
        peaks = [status_kib(worker.pid, "VmHWM") for worker in workers]
        grown_mib[count] = sum(p - b for p, b in zip(peaks, before, strict=True)) / 1024
        return took

    def one_round() -> None:
        first = bare_s(model_directory, "float32") + bare_s(model_directory, "bfloat16")
        took = score(WINDOWS)
        second = bare_s(model_directory, "float32") + bare_s(model_directory, "bfloat16")
        ratios.append(2 * took / (first + second))

    score(2)
    benchmark.pedantic(one_round, rounds=3)
    score(4 * WINDOWS)
    os.close(block)
    benchmark.extra_info["drift_time_over_bare"] = statistics.median(ratios)
    benchmark.extra_info["all_ratios"] = ratios
    benchmark.extra_info["grown_mib_by_windows"] = grown_mib
