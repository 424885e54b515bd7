"""What a step's profile is read as, with events as torch's profiler gives them on a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.autograd import DeviceType

from bench.errors import NonFiniteOutput, NotApplied
from bench.records import Kernel
from bench.worker import kernels

CPU, CUDA = DeviceType.CPU, DeviceType.CUDA


@dataclass
class Event:
    """An operator with what it spent on the device, or a kernel there."""

    key: str
    device_type: Any = CPU
    device_time_total: float = 0.0
    self_device_time_total: float = 0.0
    self_cpu_time_total: float = 5.0
    is_user_annotation: bool = False
    count: int = 1


def kernel(name: str, took: float, annotation: bool = False) -> Event:
    return Event(name, CUDA, took, took, 0.0, annotation)


PRODUCT = [Event("aten::mm", device_time_total=30.0, self_device_time_total=30.0), kernel("gemm_bf16", 30.0)]


class Engine:
    """An engine whose step is not asked what it does."""

    def __init__(self, graphs: int = 0, torch_s: bool = True, finite: bool = True) -> None:
        self.graphs, self.TORCH, self._finite = graphs, torch_s, finite

    def compiled_graphs(self) -> int:
        return self.graphs

    def finite(self, _ids: list[int]) -> bool:
        return self._finite

    def prefill(self, _prompts: list[list[int]], _new_tokens: int) -> None:
        return None

    def step(self, _generation: object) -> None:
        return None


def found(
    monkeypatch: pytest.MonkeyPatch, pattern: str, *profiles: list[Event], graphs: int = 0
) -> tuple[list[Kernel], list[str]]:
    """The rows for a step that was profiled as this, and the stances set meanwhile."""
    stances: list[str] = []
    left = list(profiles)

    @contextlib.contextmanager
    def stance(name: str) -> Iterator[None]:
        stances.append(name)
        yield

    monkeypatch.setattr(kernels, "_profiled", lambda *_: left.pop(0))
    monkeypatch.setattr(torch.compiler, "set_stance", stance)
    claim = [{"step": "quantise: it", "kernel_pattern": pattern}]
    return kernels.of_a_step(Engine(graphs), [1], claim), stances  # type: ignore[arg-type]


def test_the_time_of_a_kernel_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again with its operator and with the annotations around it."""
    events = [*PRODUCT, kernel("copy", 10.0), kernel("Torch-Compiled Region: 0/0", 40.0, annotation=True)]
    rows, _stances = found(monkeypatch, "aten::mm", events)
    assert [(row.operator, row.self_ms, row.share) for row in rows] == [
        ("gemm_bf16", 0.03, 0.75),
        ("copy", 0.01, 0.25),
    ]


def test_on_a_cpu_operators_are_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, stances = found(monkeypatch, "_int_mm", [Event("aten::_int_mm"), Event("aten::add")], graphs=1)
    assert [row.share for row in rows] == [0.5, 0.5]
    assert stances == []


def test_an_operator_that_put_nothing_on_the_gpu_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotApplied, match="no operator of a decode step matches '_int_mm'"):
        found(monkeypatch, "_int_mm", [Event("aten::_int_mm"), *PRODUCT])


def test_behind_a_cuda_graph_operators_are_looked_for_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    replay = [Event("cudaGraphLaunch"), kernel("tinygemm_m16n8k16", 30.0)]
    eager = [Event("aten::_weight_int4pack_mm", device_time_total=30.0), kernel("tinygemm_m16n8k16", 40.0)]
    rows, stances = found(monkeypatch, "_weight_int4pack_mm", replay, eager, graphs=1)
    assert stances == ["force_eager"]
    assert rows == [Kernel("tinygemm_m16n8k16", 1, self_ms=0.03, share=1.0)]


def test_what_only_the_compiled_step_shows_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    replay = [Event("Torch-Compiled Region: 0/0"), kernel("triton_tem_fused__int_mm_0", 30.0)]
    eager = [Event("aten::_int_mm"), *PRODUCT]
    found(monkeypatch, "_int_mm", replay, eager, graphs=1)
    found(monkeypatch, "Torch-Compiled Region", replay, eager, graphs=1)


def test_an_engine_that_is_not_torch_s_is_not_profiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_profiled", lambda *_: pytest.fail("profiled"))
    assert kernels.of_a_step(Engine(torch_s=False), [1], []) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("torch_s", [False, True])
def test_logits_that_are_no_numbers_end_it(torch_s: bool) -> None:
    with pytest.raises(NonFiniteOutput, match="logits on the first prompt are not finite"):
        kernels.of_a_step(Engine(torch_s=torch_s, finite=False), [1], [])  # type: ignore[arg-type]
