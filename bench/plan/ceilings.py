"""What this machine reaches at best, measured once and kept: memory and products, by dtype and threads.

``bench doctor --ceilings`` measures; estimates and plans read what is kept, as long as processor, GPUs and
torch are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.bounded import read_bounded
from bench.errors import BenchError, UsageError
from bench.machine.children import NOWHERE, SAFE, environment
from bench.machine.devices import cpu_count, cuda_device_count
from bench.machine.family import run_whole
from bench.machine.fingerprint import fingerprint
from bench.measure.worker_environment import package_places
from bench.models.cache import cache_root
from bench.models.child import OUR_PACKAGE
from bench.plan.products import Products
from bench.plan.roofline import Ceilings

DTYPES = {"float32": 32, "bfloat16": 16}
MAX_BYTES = 65_536
TIMEOUT_S = 300.0
# What changes how fast this machine computes, and says nothing else.
PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "MALLOC_", "TORCH_")
SAME = ("cpu_model", "cpu_flags_sha256", "microcode", "cpus", "gpus")


@dataclass(frozen=True)
class Measured:
    """The rates of one device in one dtype: bytes read, copied and multiplied with a vector, and FLOP, each a
    second. ``threads`` is of no meaning on a GPU. ``products`` are the times of products by their rows, as
    `Products` takes them; none on a GPU."""

    device: str
    threads: int
    dtype: str
    memory_bytes_per_s: float
    copy_bytes_per_s: float
    vector_bytes_per_s: float
    matmul_flop_per_s: float
    products: Mapping[str, Any] | None = None

    @property
    def ceilings(self) -> Ceilings:
        """Return the ceilings of decoding and of reading prompts.

        Decoding multiplies a vector by the weights. Where that is slower than reading memory, as with 16-bit
        weights on most processors, it is the limit.
        """
        by_rows = None
        if self.products is not None:
            lines = tuple(tuple(line) for line in self.products["seconds"])
            by_rows = Products(tuple(self.products["widths"]), tuple(self.products["rows"]), lines)
        slower = min(self.vector_bytes_per_s, self.memory_bytes_per_s)
        return Ceilings(slower, self.matmul_flop_per_s, 0.0, by_rows, self.copy_bytes_per_s)


def measure_all() -> Iterator[Measured]:
    """Measure one thread and all of them, and the first GPU, in each dtype; keep the result at the end.

    Raises BenchError if a measurement fails.
    """
    places = [("cpu", threads) for threads in sorted({1, cpu_count()})]
    places += [("cuda:0", 1)] if cuda_device_count() else []
    found = []
    for device, threads in places:
        for dtype in DTYPES:
            found.append(_measure(device, threads, dtype))
            yield found[-1]
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(one) for one in found]), encoding="utf-8")


def kept() -> tuple[Measured, ...]:
    """Return what was measured on this machine; nothing if nothing was, or if it cannot be read."""
    try:
        found = json.loads(read_bounded(_file(), MAX_BYTES))
        read = tuple(Measured(**one) for one in found)
        _usable = [one.ceilings for one in read]
        return read
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return ()


def ceilings_here(device: str, threads: int, dtype: str) -> Ceilings | None:
    """Return the kept ceilings of a device; None if it was not measured with these threads and this dtype.

    A CPU that an earlier version measured, without products by their rows, counts as not measured.
    """
    wanted = (device, 1 if device != "cpu" else threads, dtype)
    known = [one for one in kept() if device != "cpu" or one.products is not None]
    return next((one.ceilings for one in known if (one.device, one.threads, one.dtype) == wanted), None)


def _measure(device: str, threads: int, dtype: str) -> Measured:
    """Measure in a process of its own, so that nothing else is in its memory."""
    command = [sys.executable, "-P", "-m", "bench.worker.ceilings", str(threads), dtype, device]
    places = os.pathsep.join([OUR_PACKAGE["PYTHONPATH"], *package_places()])
    ours = {**environment(*PREFIXES), **SAFE, "PYTHONPATH": places}
    try:
        ended = run_whole(command, ours, TIMEOUT_S, NOWHERE)
        return Measured(device, threads, dtype, **json.loads(ended.stdout))
    except subprocess.CalledProcessError as bad:
        last = (bad.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BenchError(f"cannot measure {device} in {dtype}: {last}") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"measuring {device} in {dtype} took more than {TIMEOUT_S:g} s") from None


def _file() -> Path:
    """Return the file of this machine: another processor, GPU or torch has another one."""
    found = fingerprint()
    packages = found["packages"]
    torch = packages.get("torch") if isinstance(packages, dict) else None
    identity = json.dumps([*(found[key] for key in SAME), torch])
    return cache_root() / "ceilings" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
