"""The device's own clock: what is recorded when, on a CPU, on a fake, and what is asked of torch on CUDA."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from fakes import DataClock, FakeEngine

from bench.engine import device
from bench.engine.device import Cpu, Cuda
from bench.records import DeviceTimes
from bench.worker import passes


class FakeGpu:
    """A GPU whose clock is data: work is queued by the engine, and done when it is waited for."""

    def __init__(self, clock: DataClock) -> None:
        self.clock, self.log = clock, list[str]()

    def synchronise(self) -> None:
        self.log.append("wait")

    def events(self, count: int) -> Sequence[Any]:
        return [[] for _ in range(count)]

    def record(self, event: Any) -> None:
        assert not event, "an event is recorded once"
        event.append(self.clock())
        self.log.append("event")

    def elapsed_ns(self, first: Any, second: Any) -> int:
        assert self.log[-1] == "wait", "events are read once the GPU is done"
        return second[0] - first[0]  # type: ignore[no-any-return]


class OnGpu(FakeEngine):
    """A fake engine that computes on a fake GPU."""

    def __init__(self, clock: DataClock, **settings: Any) -> None:
        super().__init__(clock, **settings)
        self.gpu = self.runs_on = FakeGpu(clock)

    def step(self, generation: Any) -> None:
        self.gpu.log.append("step")
        super().step(generation)


def test_every_prompt_and_step_has_the_gpu_s_own_time() -> None:
    clock = DataClock()
    engine = OnGpu(clock, prefill_ns=[70, 80], step_ns=[3, 4, 5])
    found = passes.device_pass(engine, [[[1]], [[2]]], 3)
    assert found == DeviceTimes((70, 80), ((3, 4), (5, 3)))
    step = ["event", "step", "event", "wait"]
    assert engine.gpu.log == ["event", "event", "wait", *step, *step] * 2


def test_a_few_batches_are_enough() -> None:
    found = passes.device_pass(OnGpu(DataClock()), [[[1]]] * 9, 2)
    assert len(found.prefill_ns) == len(found.steps_ns) == passes.DEVICE_BATCHES


def test_a_cpu_has_no_clock_of_its_own() -> None:
    engine = FakeEngine()
    assert passes.device_pass(engine, [[[1]]], 3) == DeviceTimes((), ())
    assert engine.log == []
    assert isinstance(device.of("cpu", None), Cpu)
    for refused in (lambda: Cpu().record(None), lambda: Cpu().elapsed_ns(None, None)):
        with pytest.raises(NotImplementedError, match="no events"):
            refused()


def test_the_timed_passes_record_no_event() -> None:
    """An event takes microseconds of a step: it has a pass of its own."""
    engine = OnGpu(DataClock())
    passes.solo(engine, [[[1]]], 4)
    assert "event" not in engine.gpu.log


@pytest.mark.parametrize(("index", "expected"), [(None, 0), (0, 0), (1, 1)])
def test_what_cuda_is_asked(monkeypatch: pytest.MonkeyPatch, index: int | None, expected: int) -> None:
    """The calls that torch 2.11 has: events with timing, on the current stream of the GPU asked for."""
    asked: list[Any] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            asked.append(("record", stream))

        def elapsed_time(self, other: Event) -> float:
            assert other is not self
            return 1.5

    cuda = types.SimpleNamespace(
        Event=Event,
        synchronize=lambda index: asked.append(("wait", index)),
        current_stream=lambda index: f"stream of {index}",
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    gpu = device.of("cuda", index)
    assert isinstance(gpu, Cuda)
    first, second = gpu.events(2)
    gpu.record(first)
    gpu.synchronise()
    assert asked == [("record", f"stream of {expected}"), ("wait", expected)]
    assert gpu.elapsed_ns(first, second) == 1_500_000


def test_torch_has_what_is_asked_of_it() -> None:
    """The real names, which a build without CUDA has too."""
    assert callable(torch.cuda.synchronize)
    assert callable(torch.cuda.current_stream)
    assert {"record", "elapsed_time"} <= set(dir(torch.cuda.Event))
