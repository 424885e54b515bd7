"""A stand-in for ``pynvml`` whose GPUs are data. It is put into ``sys.modules``, where the package's one
import of it finds it, and the driver's device files into a directory of the test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.machine import devices

GIB = 1024**3


class NVMLError(Exception):
    """As in pynvml, whose every error is one of these."""


@dataclass
class Card:
    """A GPU: its slices, what it holds, and what its counters say. ``lacks`` are functions that this card
    does not support."""

    uuid: str = "GPU-aaaa-1"
    name: str = "NVIDIA H100 80GB HBM3"
    total: int = 80 * GIB
    used: int = GIB
    mode: int = 0
    slices: Sequence[Card] = ()
    board: Card | None = None
    temperature: int = 45
    power_mw: int = 120_000
    cap_mw: int = 700_000
    default_cap_mw: int = 700_000
    reasons: int = 0
    processes: dict[int, int | None] = field(default_factory=dict)
    samples: list[tuple[int, int, int]] = field(default_factory=list)  # (time in µs, pid, per cent)
    held_down: dict[int, tuple[int, int]] = field(default_factory=dict)  # policy: (reference µs, held ns)
    energy_mj: Callable[[], int] = lambda: 0
    lacks: set[str] = field(default_factory=set)


def h100_slice(profile: str = "1g.10gb", uuid: str = "MIG-bbbb-1", size: int = 10 * GIB) -> Card:
    """A slice of an H100."""
    return Card(uuid, f"NVIDIA H100 80GB HBM3 MIG {profile}", size)


class FakeNvml:
    """The functions that the package calls, about ``cards`` in the order of the PCI bus."""

    NVMLError = NVMLError

    def __init__(self, *cards: Card, driver: str = "580.65.06", cuda: int = 13000, broken: str = "") -> None:
        self.cards = list(cards)
        self.driver, self.cuda, self.broken = driver, cuda, broken
        for card in self.cards:
            for one in card.slices:
                one.board = card

    def __getattr__(self, function: str) -> Callable[..., Any]:
        """A function of the library, or of one card: it answers, or this card does not support it."""
        if function in OF_ALL:
            return lambda *more: OF_ALL[function](self, *more)
        read = READ.get(function)
        if read is None:
            raise AttributeError(function)

        def call(card: Card, *more: Any) -> Any:
            if function in card.lacks:
                raise NVMLError("Not Supported")
            return read(card, *more)

        return call


def _init(nvml: FakeNvml) -> None:
    if nvml.broken:
        raise NVMLError(nvml.broken)


def _by_uuid(nvml: FakeNvml, uuid: str) -> Card:
    for card in nvml.cards:
        for one in (card, *card.slices):
            if one.uuid == uuid:
                return one
    raise NVMLError("Not Found")


OF_ALL: dict[str, Callable[..., Any]] = {
    "nvmlInit": _init,
    "nvmlDeviceGetCount": lambda nvml: len(nvml.cards),
    "nvmlSystemGetDriverVersion": lambda nvml: nvml.driver,
    "nvmlSystemGetCudaDriverVersion_v2": lambda nvml: nvml.cuda,
    "nvmlDeviceGetHandleByIndex": lambda nvml, index: nvml.cards[index],
    "nvmlDeviceGetHandleByUUID": _by_uuid,
}


def _samples(card: Card, since: int) -> list[Any]:
    found = [SimpleNamespace(timeStamp=t, pid=pid, smUtil=use) for t, pid, use in card.samples if t > since]
    if not found:
        raise NVMLError("Not Found")
    return found


def _held_down(card: Card, policy: int) -> Any:
    if policy not in card.held_down:
        raise NVMLError("Not Supported")
    reference, held = card.held_down[policy]
    return SimpleNamespace(referenceTime=reference, violationTime=held)


def _board(card: Card) -> Card:
    assert card.board is not None
    return card.board


READ: dict[str, Callable[..., Any]] = {
    "nvmlDeviceGetUUID": lambda card: card.uuid,
    "nvmlDeviceGetName": lambda card: card.name,
    "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(total=card.total, used=card.used),
    "nvmlDeviceGetMigMode": lambda card: (int(bool(card.slices)), int(bool(card.slices))),
    "nvmlDeviceGetMaxMigDeviceCount": lambda card: 7,
    "nvmlDeviceGetMigDeviceHandleByIndex": lambda card, index: _slice(card, index),
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": _board,
    "nvmlDeviceGetComputeMode": lambda card: card.mode,
    "nvmlDeviceGetTemperature": lambda card, sensor: card.temperature,
    "nvmlDeviceGetPowerUsage": lambda card: card.power_mw,
    "nvmlDeviceGetEnforcedPowerLimit": lambda card: card.cap_mw,
    "nvmlDeviceGetPowerManagementDefaultLimit": lambda card: card.default_cap_mw,
    "nvmlDeviceGetClockInfo": lambda card, kind: 1980,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.reasons,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: card.reasons,
    "nvmlDeviceGetViolationStatus": _held_down,
    "nvmlDeviceGetProcessUtilization": _samples,
    "nvmlDeviceGetComputeRunningProcesses": lambda card: [
        SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in card.processes.items()
    ],
    "nvmlDeviceGetTotalEnergyConsumption": lambda card: card.energy_mj(),
}


def _slice(card: Card, index: int) -> Card:
    if index >= len(card.slices):
        raise NVMLError("Not Found")
    return card.slices[index]


Machine = Callable[..., FakeNvml]


@pytest.fixture
def gpu_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """Make this a machine with these cards, whose driver is a FakeNvml."""

    def make(*cards: Card, library: bool = True, **driver: Any) -> FakeNvml:
        found = FakeNvml(*cards, **driver)
        place = tmp_path / "dev"
        place.mkdir(exist_ok=True)
        for number in range(len(cards)):
            (place / f"nvidia{number}").touch()
        monkeypatch.setattr(devices, "DEV", place)
        monkeypatch.setitem(sys.modules, "pynvml", found if library else None)
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
            monkeypatch.delenv(name, raising=False)
        return found

    return make
