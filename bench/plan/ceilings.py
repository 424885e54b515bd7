"""Measure and store the ceilings of this machine: its rates of memory and of matrix products.

``bench doctor --ceilings`` measures them. Estimates and plans read the stored values, as long as the
processor, the GPUs and torch are the same.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.bounded import read_bounded
from bench.errors import BenchError, UsageError
from bench.machine.children import NOWHERE, SAFE, environment
from bench.machine.devices import cpu_count, cuda_device_count
from bench.machine.fingerprint import fingerprint
from bench.machine.package_places import python_path
from bench.machine.process_tree import run_whole
from bench.models.cache_lock import writing
from bench.models.disk_cache import cache_root
from bench.models.registry import ModelFile, find_model
from bench.models.shrink import Size
from bench.plan.bytes_and_flop import Loaded
from bench.plan.parts import Attention, Overhead, Parts
from bench.plan.products import Products
from bench.plan.roofline import Ceilings, decode
from bench.worker.pass_parts import CONTEXT

DTYPES = {"float32": 32, "bfloat16": 16}
MAX_BYTES = 65_536
TIMEOUT_S = 900.0
KEEPING = "keep the measured ceilings"
# Environment variables that change how fast this machine computes; the measuring process gets no others.
PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "MALLOC_", "TORCH_")
SAME = ("cpu_model", "cpu_flags_sha256", "microcode", "cpus", "gpus")


# Narrow models, whose steps are mostly what a layer costs beside its products: one of each kind of layer.
NARROW = {
    "dense": ("smollm2-135m", Size(layers=4, hidden=64)),
    "experts": ("qwen3-30b-a3b", Size(layers=4, hidden=64, experts=16)),
    "latent": ("deepseek-r1", Size(layers=4, hidden=64, experts=16)),
}


@dataclass(frozen=True)
class Measured:
    """The measured rates of one device in one dtype, per second.

    They are the bytes read, the bytes copied, the bytes of a matrix that is multiplied with a vector, and the
    FLOP of a matrix product. ``threads`` has no meaning on a GPU. ``parts`` holds the times of the parts of
    a pass, as `bench.worker.pass_parts` measures them; it is None on a GPU.
    """

    device: str
    threads: int
    dtype: str
    memory_bytes_per_s: float
    copy_bytes_per_s: float
    vector_bytes_per_s: float
    matmul_flop_per_s: float
    parts: Mapping[str, Any] | None = None

    @property
    def ceilings(self) -> Ceilings:
        """Return the ceilings for decoding and for reading prompts.

        Decoding multiplies a vector by the weights. On most processors this is slower than reading memory if
        the weights have 16 bits, so the slower of both rates counts.
        """
        slower = min(self.vector_bytes_per_s, self.memory_bytes_per_s)
        best = Ceilings(slower, self.matmul_flop_per_s)
        if self.parts is None:
            return best
        read = {name: _rows(values) for name, values in self.parts.items() if isinstance(values, Mapping)}
        parts = Parts(
            Products(**read["products"]),
            Products(**read["heads"]),
            Attention(**read["attention"]),
            self.copy_bytes_per_s,
            self.parts["routed_value_s"],
        )
        best = replace(best, parts=parts)
        layers = {kind: self._beside(best, kind, step_s) for kind, step_s in self.parts["steps_s"].items()}
        return replace(best, parts=replace(parts, overhead=Overhead(**layers)))

    def _beside(self, best: Ceilings, kind: str, step_s: float) -> float:
        """Return what a layer of a narrow model takes beside the parts that were measured by themselves."""
        facts, bits = narrow_card(kind).architecture, DTYPES[self.dtype]
        loaded = Loaded(facts, bits, bits // 8, expanded=True)
        return max(step_s - decode(loaded, best, CONTEXT).seconds, 0.0) / facts.layers


def narrow_card(kind: str) -> ModelFile:
    """Return the card of the narrow model with layers of a kind."""
    name, size = NARROW[kind]
    return find_model(name).sized(size)


def _rows(values: Any) -> Any:
    """Return the lists of an object from JSON as tuples."""
    if isinstance(values, Mapping):
        return {name: _rows(value) for name, value in values.items()}
    return tuple(map(_rows, values)) if isinstance(values, list) else values


def measure_all() -> Iterator[Measured]:
    """Measure one CPU thread, all CPU threads and the first GPU in each dtype; yield each result.

    All results are stored at the end. Raises BenchError if a measurement fails, or if they cannot be stored.
    """
    path = _file()
    with writing(KEEPING, path.parent):  # before anything is measured
        path.parent.mkdir(parents=True, exist_ok=True)
    places = [("cpu", threads) for threads in sorted({1, cpu_count()})]
    places += [("cuda:0", 1)] if cuda_device_count() else []
    results = []
    for device, threads in places:
        for dtype in DTYPES:
            results.append(_measure(device, threads, dtype))
            yield results[-1]
    with writing(KEEPING, path.parent):
        path.write_text(json.dumps([asdict(result) for result in results]), encoding="utf-8")


def kept() -> tuple[Measured, ...]:
    """Return the stored measurements of this machine; empty if there are none or they cannot be read."""
    try:
        stored = json.loads(read_bounded(_file(), MAX_BYTES))
        results = tuple(Measured(**entry) for entry in stored)
        _checked = [result.ceilings for result in results]  # raises for values that are not ceilings
        return results
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return ()


def ceilings_here(device: str, threads: int, dtype: str) -> Ceilings | None:
    """Return the stored ceilings of a device, or None if it was not measured with these threads and dtype.

    Earlier versions did not measure the parts of a pass on a CPU; such a result counts as missing.
    """
    wanted = (device, 1 if device != "cpu" else threads, dtype)
    known = [result for result in kept() if device != "cpu" or result.parts is not None]
    return next((each.ceilings for each in known if (each.device, each.threads, each.dtype) == wanted), None)


def _measure(device: str, threads: int, dtype: str) -> Measured:
    """Measure in a new process, so that nothing else occupies its memory."""
    narrow = json.dumps({kind: dict(narrow_card(kind).config) for kind in NARROW})
    command = [sys.executable, "-P", "-m", "bench.worker.ceilings", str(threads), dtype, device, narrow]
    ours = {**environment(*PREFIXES), **SAFE, **python_path()}
    try:
        ended = run_whole(command, ours, TIMEOUT_S, NOWHERE)
        return Measured(device, threads, dtype, **json.loads(ended.stdout))
    except subprocess.CalledProcessError as bad:
        last = (bad.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BenchError(f"cannot measure {device} in {dtype}: {last}") from None
    except subprocess.TimeoutExpired:
        raise BenchError(f"measuring {device} in {dtype} took more than {TIMEOUT_S:g} s") from None


def _file() -> Path:
    """Return the file for this machine. Its name depends on the processor, the GPUs and torch."""
    machine = fingerprint()
    packages = machine["packages"]
    torch = packages.get("torch") if isinstance(packages, dict) else None
    identity = json.dumps([*(machine[key] for key in SAME), torch])
    return cache_root() / "ceilings" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.json"
