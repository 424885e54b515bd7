"""NVFP4 weight-only: 4-bit floats, 16 of them to a float8 scale, one float32 scale per matrix.

Source: NVIDIA's format, by torchao's ``NVFP4WeightOnlyConfig``. Weights are unpacked before each product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import torchao

REQUIRES = ("torchao",)
NOTE = "its weights are unpacked in every step; Blackwell GPUs multiply them as they are, with nvfp4-dynamic"


@dataclass(frozen=True)
class Params:
    """Nothing to set."""


def unsupported(device: str, dtype: str) -> str | None:
    """Runs on CPU and CUDA; torchao has no float16 for it."""
    return "NVFP4 is made from float32 or bfloat16, not float16" if dtype == "float16" else None


def apply(model: Any, params: Params) -> Any:
    """Every linear layer but the head."""
    from torchao.prototype.mx_formats import NVFP4WeightOnlyConfig

    return torchao.quantise(model, NVFP4WeightOnlyConfig())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Two weights a byte, and their scales."""
    return torchao.stored(before, after, 4, "uint8")
