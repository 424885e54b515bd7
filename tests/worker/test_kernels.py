"""What a step's profile is read as, with events as torch's profiler gives them on a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import FakeEngine, facts_record
from torch.autograd import DeviceType

from bench.errors import NotApplied, VariantFailed
from bench.records import Facts, Kernel, StepProfile
from bench.worker import kernels

CPU, CUDA = DeviceType.CPU, DeviceType.CUDA


@dataclass
class Span:
    start: float
    end: float


class Event:
    """An operator with what it spent on the device, or a kernel there."""

    def __init__(
        self, name: str, start: float = 0.0, took: float = 5.0, device: Any = CPU, on_device: float = 0.0
    ) -> None:
        self.name, self.device_type, self.is_user_annotation = name, device, False
        self.time_range = Span(start, start + took)
        self.self_cpu_time_total = took if device is CPU else 0.0
        self.self_device_time_total = took if device is CUDA else 0.0
        self.device_time_total = self.self_device_time_total or on_device


def kernel(name: str, took: float, start: float = 0.0, annotation: bool = False) -> Event:
    found = Event(name, start, took, CUDA)
    found.is_user_annotation = annotation
    return found


def product(start: float = 0.0) -> list[Event]:
    return [Event("aten::mm", start, on_device=30.0), kernel("gemm_bf16", 30.0, start)]


class Engine(FakeEngine):
    """An engine on a GPU whose step is not asked what it does."""

    def __init__(self, graphs: int = 0, device: str = "cuda:0") -> None:
        super().__init__()
        self._graphs, self._device = graphs, device

    def facts(self) -> Facts:
        return facts_record(device=self._device)

    def compiled_graphs(self) -> int:
        return self._graphs


def found(
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    events: list[Event],
    graphs: int = 0,
    device: str = "cuda:0",
) -> StepProfile:
    """What is found in a step that was profiled as this."""

    def profiled(_engine: object, _generation: object, *, twice: bool) -> list[Event]:
        assert twice is bool(graphs and device != "cpu")
        return events

    monkeypatch.setattr(kernels, "_profiled", profiled)
    claim = [{"step": "quantise: it", "kernel_pattern": pattern}]
    return kernels.of_a_step(Engine(graphs, device), [[1]], 8, claim)


def test_the_time_of_a_kernel_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again with its operator and with the annotations around it."""
    region = kernel("Torch-Compiled Region: 0/0", 40.0, annotation=True)
    rows = found(monkeypatch, "aten::mm", [*product(), kernel("copy", 10.0, 30.0), region]).kernels
    assert [(row.operator, row.self_ms, row.share) for row in rows] == [
        ("gemm_bf16", 0.03, 0.75),
        ("copy", 0.01, 0.25),
    ]


def test_on_a_cpu_operators_are_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    profile = found(monkeypatch, "_int_mm", [Event("aten::_int_mm"), Event("aten::add")], 1, "cpu")
    assert [row.share for row in profile.kernels] == [0.5, 0.5]
    assert (profile.launches, profile.gpu_busy_ms) == (None, None)


def test_an_operator_that_put_nothing_on_the_gpu_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotApplied, match="no operator of a decode step matches '_int_mm'"):
        found(monkeypatch, "_int_mm", [Event("aten::_int_mm"), *product()])


def replayed(start: float) -> list[Event]:
    """A step that replays its graph, then the same without it from ``start`` on."""
    return [
        Event("Torch-Compiled Region: 0/0"),
        Event("cudaGraphLaunch"),
        kernel("tinygemm_m16n8k16", 30.0, 10.0),
        Event(kernels.EAGER, start, 100.0),
        kernel(kernels.EAGER, 90.0, start + 1, annotation=True),
        Event("aten::_weight_int4pack_mm", start + 2, on_device=30.0),
        kernel("tinygemm_m16n8k16", 40.0, start + 3),
    ]


def test_behind_a_cuda_graph_operators_are_looked_for_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times and launches are those of the replay alone."""
    profile = found(monkeypatch, "_weight_int4pack_mm", replayed(50.0), graphs=1)
    assert profile.kernels == (Kernel("tinygemm_m16n8k16", 1, self_ms=0.03, share=1.0),)
    assert (profile.launches, profile.gpu_busy_ms) == (1, 0.03)


def test_what_only_the_compiled_step_shows_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "Torch-Compiled Region", replayed(50.0), graphs=1).launches == 1


def test_the_gpu_works_where_any_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Side by side, one within another and apart: 0 to 40, 50 to 70, without the gap."""
    spans = [(0.0, 30.0), (20.0, 20.0), (5.0, 10.0), (50.0, 20.0)]
    events = [
        *(kernel(f"k{number}", took, start) for number, (start, took) in enumerate(spans)),
        *(Event(name) for name in ("cudaLaunchKernel", "cuLaunchKernelEx", "cudaMemcpyAsync", "aten::add")),
    ]
    profile = found(monkeypatch, "k0", events)
    assert (profile.launches, profile.gpu_busy_ms) == (3, 0.06)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("cudaLaunchKernel", True),
        ("cudaLaunchKernelExC", True),
        ("cudaLaunchCooperativeKernel", True),
        ("cuLaunchKernel", True),
        ("cudaGraphLaunch", True),
        ("cudaMemsetAsync", True),
        ("cudaDeviceSynchronize", False),
        ("cudaEventRecord", False),
        ("cudaStreamIsCapturing", False),
        ("aten::cudaLaunchKernel", False),
    ],
)
def test_which_calls_give_the_gpu_work(name: str, is_one: bool) -> None:
    assert bool(kernels.LAUNCHES.match(name)) is is_one


def test_an_engine_that_is_not_torch_s_is_not_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_profiled", lambda *_, **__: pytest.fail("profiled"))
    engine = Engine()
    engine.TORCH = False  # type: ignore[misc]
    assert kernels.of_a_step(engine, [[1]], 8, []) == StepProfile(())


def test_one_session_of_the_profiler_sees_both_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real profiler on the CPU: the second step is told apart, and no second session is opened."""
    opened: list[int] = []
    real = torch.profiler.profile

    @contextlib.contextmanager
    def counted(**settings: Any) -> Iterator[Any]:
        opened.append(1)
        with real(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            yield profile

    class Adding(Engine):
        steps = 0

        def step(self, generation: Any) -> None:
            self.steps += 1
            _ = torch.ones(4) + 1 if self.steps % 2 else torch.ones(4) * 2

    monkeypatch.setattr(torch.profiler, "profile", counted)
    step, eager = kernels._parted(kernels._profiled(Adding(1), [], twice=True))
    assert opened == [1]
    assert "aten::add" in {one.name for one in step}
    assert "aten::mul" not in {one.name for one in step}
    assert "aten::mul" in {one.name for one in eager}
    only, none = kernels._parted(kernels._profiled(Adding(0), [], twice=False))
    assert none == []
    assert SimpleNamespace(names={one.name for one in only}).names >= {"aten::add"}


def of_two_steps(monkeypatch: pytest.MonkeyPatch, operators: tuple[int, ...], engine: Engine) -> StepProfile:
    """A step of a request that was timed has the first number of operators, one of a new request the next."""
    left = list(operators)

    def profiled(_engine: object, _generation: object, *, twice: bool) -> list[Event]:
        return [Event("aten::mm")] * left.pop(0)

    monkeypatch.setattr(kernels, "_profiled", profiled)
    made = kernels.of_a_step(engine, [[1]], 8, [{"step": "load"}, {"step": "quantise: it"}])
    assert not left
    return made


def test_a_model_that_remembers_its_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of answers made a row twice as cheap, because the passes repeat their requests."""
    with pytest.raises(
        VariantFailed, match=r"quantise: it: a step of a request that was asked before runs 4"
    ):
        of_two_steps(monkeypatch, (4, 100), Engine(device="cpu"))


@pytest.mark.parametrize(
    ("operators", "graphs", "device"),
    [((100, 100), 0, "cpu"), ((5, 100), 0, "cpu"), ((4,), 1, "cpu"), ((4,), 0, "cuda:0")],
)
def test_other_models_are_not(
    monkeypatch: pytest.MonkeyPatch, operators: tuple[int, ...], graphs: int, device: str
) -> None:
    """On a GPU a process has one profile, and of a compiled step little is seen."""
    assert of_two_steps(monkeypatch, operators, Engine(graphs, device))
