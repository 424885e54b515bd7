"""Wait for the device that an engine computes on, and read its own clock.

A CPU has done its work when a call returns, and it has no clock of its own. A GPU works asynchronously:
events that are recorded in its queue say how long the GPU took from one event to the next, including gaps in
which it waited for the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Device(Protocol):
    """Define what the timed passes need from a device."""

    def synchronise(self) -> None:
        """Wait until the device has finished all work it was given."""

    def events(self, count: int) -> Sequence[Any]:
        """Return ``count`` events that are not recorded yet; () if the device has no clock."""

    def record(self, event: Any) -> None:
        """Make the device store its time in ``event`` once it has done all earlier work."""

    def elapsed_ns(self, first: Any, second: Any) -> int:
        """Return the device's time (ns) between two recorded events; synchronise the device first."""


class Cpu:
    """Represent a CPU, which has nothing to wait for and no clock of its own."""

    def synchronise(self) -> None:
        """Do nothing."""

    def events(self, count: int) -> Sequence[Any]:
        """Return no events."""
        return ()

    def record(self, event: Any) -> None:
        """Raise NotImplementedError, because a CPU has no events."""
        raise NotImplementedError("a CPU has no events")

    def elapsed_ns(self, first: Any, second: Any) -> int:
        """Raise NotImplementedError, because a CPU has no events."""
        raise NotImplementedError("a CPU has no events")


class Cuda:
    """Represent one NVIDIA GPU by its number in torch; ``torch.cuda.Event`` has a resolution of 0.5 µs."""

    def __init__(self, index: int) -> None:
        import torch

        self._cuda, self._index = torch.cuda, index

    def synchronise(self) -> None:
        """Wait for every stream of this GPU."""
        self._cuda.synchronize(self._index)

    def events(self, count: int) -> Sequence[Any]:
        """Return CUDA events that can be timed."""
        return [self._cuda.Event(enable_timing=True) for _ in range(count)]

    def record(self, event: Any) -> None:
        """Record the event on the current stream of this GPU, which is the one that models use."""
        event.record(self._cuda.current_stream(self._index))

    def elapsed_ns(self, first: Any, second: Any) -> int:
        """Return the nanoseconds between two events, converted from CUDA's milliseconds."""
        return round(float(first.elapsed_time(second)) * 1e6)


def of(kind: str, index: int | None) -> Device:
    """Return the device for torch's kind and number, such as ``cuda`` and 1."""
    return Cuda(index or 0) if kind == "cuda" else Cpu()
