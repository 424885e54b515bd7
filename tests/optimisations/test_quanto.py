"""When a GPU needs kernels of optimum-quanto's own, and what is said where they cannot be built."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils import cpp_extension

from bench.errors import Unsupported
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.optimisations import quanto
from bench.runtimes import Options
from bench.runtimes import transformers as runtime

pytest.importorskip("optimum.quanto")


@pytest.mark.parametrize(
    ("weights", "dtype", "activations", "needed"),
    [
        ("int8", "bfloat16", None, False),
        ("int4", "bfloat16", None, True),  # a toy's rows are too short for groups
        ("int4", "float32", None, True),
        ("int2", "bfloat16", None, True),
        ("float8", "bfloat16", None, True),
        ("float8", "float32", None, False),
        ("float8", "bfloat16", "float8", False),
    ],
)
def test_which_weights_need_kernels_that_are_built(
    monkeypatch: pytest.MonkeyPatch, weights: str, dtype: str, activations: Any, needed: bool
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(quanto, "check_compiler", asked.append)
    model = runtime.load(
        ensure(Random("tiny-llama")).directory, Options(dtype=dtype, random=True, device="cpu")
    ).model
    params = quanto.QuantoParams(activations=activations, samples=1, tokens=16)
    quanto.pack(model, params, weights)
    assert asked == [torch.device("cpu")] * needed


def test_groups_of_128_in_bfloat16_have_a_kernel_in_torch() -> None:
    from optimum.quanto import QLinear, qint4

    layer = QLinear(256, 32, weights=qint4, dtype=torch.bfloat16)
    assert not quanto._needs_its_kernels(torch.nn.Sequential(layer), quanto.QuantoParams(), "int4")


def test_without_a_compiler_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    quanto.check_compiler(torch.device("cpu"))
    with pytest.raises(Unsupported, match="builds its CUDA kernels here with nvcc, which is not found"):
        quanto.check_compiler(torch.device("cuda"))
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", "/opt/cuda")
    quanto.check_compiler(torch.device("cuda"))
