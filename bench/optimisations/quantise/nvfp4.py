"""NVFP4 weight-only: 4-bit floats, a float8 scale for each 16 of them, one float32 scale per matrix.

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
    """This scheme has no settings."""


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason in float16, which torchao does not support here. It runs on CPU and CUDA."""
    return "NVFP4 is made from float32 or bfloat16, not float16" if dtype == "float16" else None


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""
    from torchao.prototype.mx_formats import NVFP4WeightOnlyConfig

    return torchao.quantise(model, NVFP4WeightOnlyConfig())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that two weights take one byte, plus scales."""
    return torchao.stored(before, after, 4, "uint8")
