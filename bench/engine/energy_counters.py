"""Read the energy counters of the hardware: RAPL for the CPU, NVML for the GPU. Nothing is estimated here.

A GPU (Volta and later) counts the energy of its board, and updates the counter about ten times a second. If
it has no counter, its power is integrated. RAPL counts microjoules and wraps around after minutes to hours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import nvml
from bench.machine.nvml import Gpu, NoNvml

_POWERCAP = Path("/sys/class/powercap")
MOST_STEP_J = 50_000.0  # a larger step between two readings means that the counter was reset
INSTANT = "NVML_FI_DEV_POWER_INSTANT"  # since Hopper, ``nvmlDeviceGetPowerUsage`` is a mean over a second


class CounterReset(Exception):
    """Raised when a counter went backwards: the driver was reloaded, or the machine was suspended."""


@dataclass(frozen=True)
class Counter:
    """Give access to an energy counter. ``boundary`` names the hardware whose energy it includes.

    ``read`` returns the joules since some fixed moment, and raises CounterReset if the counter was reset; it
    is None if only the power is known. ``power`` returns the present power in watts, or None.
    """

    boundary: str
    read: Callable[[], float] | None
    power: Callable[[], float | None] | None = None


@dataclass(frozen=True)
class NoCounter:
    """Say why energy cannot be measured here: a reason code and a sentence."""

    code: str
    reason: str


def find(device: str, gpu: Gpu | NoNvml | None = None) -> Counter | NoCounter:
    """Return the counter of ``device`` (``cpu`` or ``cuda:N``), or the reason why there is none.

    Without ``gpu``, torch says which GPU ``cuda:N`` is. A process that has no torch gives the ``gpu`` itself.
    """
    if not device.startswith("cuda"):
        return _rapl()
    return _nvml(gpu_of_torch(int(device.partition(":")[2] or 0)) if gpu is None else gpu)


def of_all(devices: Sequence[str]) -> Counter | NoCounter:
    """Return one counter for several devices, whose energy and power are added up, or the first reason why
    there is none."""
    found = [find(device) for device in devices]
    absent = next((one for one in found if isinstance(one, NoCounter)), None)
    if absent is not None or len(found) == 1:
        return absent or found[0]
    counters = [one for one in found if isinstance(one, Counter)]
    reads = [one.read for one in counters if one.read is not None]
    powers = [one.power for one in counters if one.power is not None]

    def power() -> float | None:
        watts = [one() for one in powers]
        return sum(one or 0.0 for one in watts) if None not in watts else None

    return Counter(
        f"{len(counters)} × {counters[0].boundary}",
        (lambda: sum(one() for one in reads)) if len(reads) == len(counters) else None,
        power if len(powers) == len(counters) else None,
    )


# ---- RAPL ----------------------------------------------------------------------------------------


def _rapl() -> Counter | NoCounter:
    """Return the counter of the CPU packages, which sums all ``intel-rapl:N`` domains that are packages.

    AMD processors use the same interface. The domain ``psys`` is left out, because it includes the packages.
    """
    domains = [
        domain
        for domain in sorted(_POWERCAP.glob("intel-rapl:[0-9]*"))
        if ":" not in domain.name.removeprefix("intel-rapl:") and _is_package(domain)
    ]
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
    except (OSError, ValueError) as bad:
        return NoCounter("no_energy_counter", f"the RAPL counter cannot be read ({bad})")
    return Counter("CPU package (RAPL)", _unwrapped(files, limits))


def _is_package(domain: Path) -> bool:
    try:
        return (domain / "name").read_text().startswith("package")
    except OSError:
        return True


def _unwrapped(files: list[Path], limits: list[int]) -> Callable[[], float]:
    """Return a function that reads joules, and goes on growing when a counter wraps around at its limit."""
    last = [int(file.read_text()) for file in files]
    total = [0]

    def read() -> float:
        for index, file in enumerate(files):
            now = int(file.read_text())
            step = (now - last[index]) % (limits[index] + 1)
            last[index] = now
            if step / 1e6 > MOST_STEP_J:
                raise CounterReset
            total[0] += step
        return total[0] / 1e6

    return read


# ---- NVML ----------------------------------------------------------------------------------------


def _nvml(gpu: Gpu | NoNvml) -> Counter | NoCounter:
    """Return the energy counter of the board, or its power without one, or the reason for neither."""
    library = nvml.library()
    if isinstance(gpu, NoNvml) or isinstance(library, NoNvml):
        return NoCounter(gpu.code, gpu.reason) if isinstance(gpu, NoNvml) else NoCounter("nvml_failed", "")
    if gpu.profile:
        words = f"the board counts the energy of all its slices, and this is one ({gpu.profile})"
        return NoCounter("mig_slice", words)
    power = _power(library, gpu)
    if nvml.ask(library, "nvmlDeviceGetTotalEnergyConsumption", gpu.board) is None:
        if power() is None:
            return NoCounter("no_energy_counter", f"the {gpu.name} counts neither energy nor power")
        return Counter("GPU board (NVML, power integrated)", None, power)
    return Counter("GPU board (NVML)", _growing(library, gpu), power)


def _growing(library: Any, gpu: Gpu) -> Callable[[], float]:
    """Return a function that reads joules from a counter that starts at 0 when the driver is loaded."""
    last = [0.0]

    def read() -> float:
        millijoules = nvml.ask(library, "nvmlDeviceGetTotalEnergyConsumption", gpu.board)
        if millijoules is None or millijoules / 1e3 < last[0]:
            raise CounterReset
        last[0] = millijoules / 1e3
        return last[0]

    return read


def _power(library: Any, gpu: Gpu) -> Callable[[], float | None]:
    """Return a function that reads the board's power in watts, instantaneous if the driver offers that."""
    field = getattr(library, INSTANT, None)

    def power() -> float | None:
        values = None if field is None else nvml.ask(library, "nvmlDeviceGetFieldValues", gpu.board, [field])
        if values and values[0].nvmlReturn == 0 and values[0].value.uiVal:
            return float(values[0].value.uiVal) / 1e3
        milliwatts = nvml.ask(library, "nvmlDeviceGetPowerUsage", gpu.board)
        return None if milliwatts is None else milliwatts / 1e3

    return power


def gpu_of_torch(index: int) -> Gpu | NoNvml:
    """Return the GPU with torch's number ``index``, or the reason why NVML does not know it.

    Torch numbers only the GPUs in CUDA_VISIBLE_DEVICES and NVML numbers all of them, so this uses the UUID.
    """
    import torch

    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    if uuid is None:
        return NoNvml("gpu_unknown", "this torch does not say the GPU's UUID, by which NVML knows it")
    return nvml.gpu_of(str(uuid))
