"""Energy from hardware counters: RAPL on the CPU, NVML on the GPU. Never a constant times a guess."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """``read`` gives joules since some fixed moment; ``boundary`` says what they include."""

    boundary: str
    read: Callable[[], float]


@dataclass(frozen=True)
class NoCounter:
    """Why energy cannot be measured here, as a reason code and a sentence."""

    code: str
    reason: str


def find(device: str) -> Counter | NoCounter:
    """The counter for ``device`` (``cpu`` or ``cuda:N``), or why there is none."""
    return _nvml(device) if device.startswith("cuda") else _rapl()


def _rapl() -> Counter | NoCounter:
    """CPU packages: the sum of every readable ``intel-rapl:N`` (AMD uses the same interface)."""
    domains = sorted(_POWERCAP.glob("intel-rapl:[0-9]"))
    if not domains:
        return NoCounter(
            "no_energy_counter", "this machine shows no RAPL counter (most virtual machines hide it)"
        )
    files = [domain / "energy_uj" for domain in domains]
    try:
        limits = [int((domain / "max_energy_range_uj").read_text()) for domain in domains]
        for file in files:
            file.read_text()
    except PermissionError:
        return NoCounter("not_permitted", "the RAPL counter is readable by root only; see `bench doctor`")
    return Counter("CPU package (RAPL)", _unwrapped(files, limits))


def _unwrapped(files: list[Path], limits: list[int]) -> Callable[[], float]:
    """Joules that keep growing when a counter wraps around at its limit."""
    last = [int(file.read_text()) for file in files]
    total = [0]

    def read() -> float:
        for index, file in enumerate(files):
            now = int(file.read_text())
            total[0] += (now - last[index]) % (limits[index] + 1)
            last[index] = now
        return total[0] / 1e6

    return read


def _nvml(device: str) -> Counter | NoCounter:
    """The board's total energy counter (Volta and later, refreshed about ten times a second)."""
    try:
        import pynvml
    except ImportError:
        return NoCounter("nvml_missing", "install nvidia-ml-py: pip install 'inference-cost-bench[gpu]'")
    uuid = _uuid(int(device.partition(":")[2] or 0))
    if uuid is None:
        return NoCounter("gpu_unknown", "this torch does not say the GPU's UUID, by which NVML knows it")
    try:
        pynvml.nvmlInit()
        handle: Any = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        return NoCounter("nvml_failed", f"NVML: {error}")
    return Counter("GPU board (NVML)", lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)


def _uuid(index: int) -> str | None:
    """Of the GPU that torch counts as this one: torch counts those in CUDA_VISIBLE_DEVICES, NVML all."""
    import torch

    found = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    return None if found is None else f"GPU-{found}"
