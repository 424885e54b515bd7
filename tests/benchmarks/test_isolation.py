"""A worker, isolated as in a run, beside a plain loop in a process of its own: the same decode speed?"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure.worker_environment import worker_environment
from bench.measure.worker_process import WorkerProcess

BARE = Path(__file__).with_name("bare.py")
N_IN, N_OUT, TIMES = 128, 64, 3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_decode_rate_beside_plain_loop(benchmark, model_directory: Path, tmp_path: Path, dtype: str) -> None:
    rates: dict[str, list[float]] = {"plain": [], "worker": []}
    prompt = {"text": "word " * 400, "chat": False, "tokens": N_IN}
    options = {"device": "cpu", "dtype": dtype, "threads": 2, "attention": "sdpa"}

    def plain() -> None:
        command = [
            sys.executable,
            str(BARE),
            "decode",
            str(model_directory),
            dtype,
            str(N_IN),
            str(N_OUT),
            str(TIMES),
        ]
        done = subprocess.run(command, env=worker_environment(2), capture_output=True, text=True, check=True)
        rates["plain"].append(statistics.fmean(json.loads(done.stdout)))

    def worker() -> None:
        with WorkerProcess("isolated", tmp_path / "log", threads=2) as process:
            process.ask(
                "load",
                300,
                directory=str(model_directory),
                runtime="bench.runtimes.transformers",
                options=options,
                optimise=[],
            )
            process.ask("prompts", 60, prompts=[prompt] * TIMES, batch_size=1, output_tokens=N_OUT)
            process.ask("warm_up", 300, least=1)
            batches = process.ask("solo", 300)["batches"]
        rates["worker"].append(
            statistics.fmean((N_OUT - 1) * 1e9 / (b["stamps_ns"][-1] - b["stamps_ns"][0]) for b in batches)
        )

    def one_round() -> None:
        plain()
        worker()
        worker()
        plain()

    benchmark.pedantic(one_round, rounds=5)
    pairs = zip(rates["worker"], rates["plain"], strict=True)
    benchmark.extra_info["worker_over_plain"] = statistics.median(w / p for w, p in pairs)
    benchmark.extra_info["all_ratios"] = [w / p for w, p in zip(rates["worker"], rates["plain"], strict=True)]
    benchmark.extra_info["tokens_per_s"] = {name: statistics.fmean(found) for name, found in rates.items()}
