"""What the harness itself costs: its processor time while workers work, its memory, its start-up."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter, process_time

from bench.measure.together import ask_both

IMPORT = [sys.executable, "-c", "import torch, transformers"]
HELP = [sys.executable, "-m", "bench", "--help"]
OWN_PEAK = """
import pathlib
from bench.config.reader import read_config
from bench.runs.run import run_spec
sizes = ["workload.requests=6", "drift.tokens=2048"]
run_spec(read_config(pathlib.Path("configs/quickstart.yaml"), sizes, ["bf16"]), pathlib.Path({out!r}))
status = pathlib.Path("/proc/self/status").read_text().splitlines()
print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""
CHECK = [sys.executable, "-m", "bench", "check", "configs/quickstart.yaml"]


def test_parent_processor_time(benchmark, workers) -> None:
    """Processor seconds of this process ÷ wall seconds, while a worker runs a solo pass and during a duet."""
    base, variant = workers
    shares: dict[str, list[float]] = {"solo": [], "duet": []}
    firsts = [[k % 2 for k in range(24)] for _ in range(8)]

    def both() -> None:
        for name, work in (
            ("solo", lambda: base.ask("solo", 300)),
            ("duet", lambda: ask_both("duet", base, variant, 300, batches=list(range(8)), firsts=firsts)),
        ):
            wall, cpu = perf_counter(), process_time()
            work()
            shares[name].append((process_time() - cpu) / (perf_counter() - wall))

    benchmark.pedantic(both, rounds=3)
    for name, found in shares.items():
        benchmark.extra_info[f"parent_share_of_a_core_{name}"] = max(found)


def test_parent_memory(benchmark, tmp_path: Path) -> None:
    """Peak resident set of the process of ``bench run``, its children not counted."""
    program = OWN_PEAK.format(out=str(tmp_path))

    def measured() -> int:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    peak_kib = benchmark.pedantic(measured, rounds=1)
    benchmark.extra_info["parent_peak_mib"] = peak_kib / 1024


def test_start_up(benchmark) -> None:
    """``--help`` and ``check`` beside importing torch and transformers, interleaved."""
    commands = {"import": IMPORT, "help": HELP, "check": CHECK}
    took: dict[str, list[float]] = {name: [] for name in commands}
    rng = random.Random(0)

    def one_round() -> None:
        for name in rng.sample(sorted(commands), 3):
            begin = perf_counter()
            subprocess.run(commands[name], stdout=subprocess.DEVNULL, check=True)
            took[name].append(perf_counter() - begin)

    benchmark.pedantic(one_round, rounds=10, warmup_rounds=1)
    medians = {name: statistics.median(times[1:]) for name, times in took.items()}
    for name in ("help", "check"):
        benchmark.extra_info[f"{name}_s"] = medians[name]
        benchmark.extra_info[f"import_over_{name}"] = medians["import"] / medians[name]
