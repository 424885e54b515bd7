"""The device that an engine computes on: wait for it, and read its own clock.

A CPU has done its work when a call returns, and has no clock but the wall's. A GPU works behind the
processor's back: events that are recorded between its work say how long the GPU itself took from one to the
next, gaps included in which it waited for the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Device(Protocol):
    """What the timed passes ask of a device."""

    def synchronise(self) -> None:
        """Wait until the device has finished all work it was given."""

    def events(self, count: int) -> Sequence[Any]:
        """Return ``count`` events that are not recorded yet; none if the device has no clock."""

    def record(self, event: Any) -> None:
        """Let the device note its time in ``event``, after all work that it was given before."""

    def elapsed_ns(self, first: Any, second: Any) -> int:
        """Return the device's own time between two recorded events; the device must be synchronised."""


class Cpu:
    """The processor: nothing to wait for, and no clock of its own."""

    def synchronise(self) -> None:
        """Do nothing."""

    def events(self, count: int) -> Sequence[Any]:
        """Return nothing."""
        return ()

    def record(self, event: Any) -> None:
        """Refuse: there is nothing to record."""
        raise NotImplementedError("a CPU has no events")

    def elapsed_ns(self, first: Any, second: Any) -> int:
        """Refuse: there is nothing to read."""
        raise NotImplementedError("a CPU has no events")


class Cuda:
    """One NVIDIA GPU, by its number in torch. Source: ``torch.cuda.Event``, whose resolution is 0.5 µs."""

    def __init__(self, index: int) -> None:
        import torch

        self._cuda, self._index = torch.cuda, index

    def synchronise(self) -> None:
        """Wait for every stream of this GPU."""
        self._cuda.synchronize(self._index)

    def events(self, count: int) -> Sequence[Any]:
        """Return CUDA events with timing."""
        return [self._cuda.Event(enable_timing=True) for _ in range(count)]

    def record(self, event: Any) -> None:
        """Record on the current stream of this GPU, on which models compute."""
        event.record(self._cuda.current_stream(self._index))

    def elapsed_ns(self, first: Any, second: Any) -> int:
        """Return the nanoseconds between two events; CUDA gives milliseconds."""
        return round(float(first.elapsed_time(second)) * 1e6)


def of(kind: str, index: int | None) -> Device:
    """Return the device of torch's kind and number, such as ``cuda`` and 1."""
    return Cuda(index or 0) if kind == "cuda" else Cpu()
