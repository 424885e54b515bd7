"""Energy from hardware counters: RAPL for the CPU, NVML for the GPU. Energy is never estimated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Counter:
    """An energy counter. ``read`` returns joules since some fixed moment; ``boundary`` names the hardware
    that they include."""

    boundary: str
    read: Callable[[], float]


@dataclass(frozen=True)
class NoCounter:
    """The reason why energy cannot be measured here: a reason code and a sentence."""

    code: str
    reason: str


def find(device: str) -> Counter | NoCounter:
    """Return the counter of ``device`` (``cpu`` or ``cuda:N``), or the reason why there is none."""
    return _nvml(device) if device.startswith("cuda") else _rapl()


def _rapl() -> Counter | NoCounter:
    """Return the counter of the CPU packages: the sum of all ``intel-rapl:N`` domains. AMD processors use the
    same interface."""
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
    """Return a function that reads joules and keeps growing when a counter wraps around at its limit."""
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
    """Return the board's total energy counter (Volta and later, updated about ten times a second)."""
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
    """Return the UUID of torch's GPU ``index``. Torch numbers only the GPUs in CUDA_VISIBLE_DEVICES, NVML
    numbers all of them."""
    import torch

    found = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    return None if found is None else f"GPU-{found}"
