"""NVFP4, weights and activations: products of 4-bit floats on Blackwell's tensor cores.

Source: NVIDIA's format, by torchao's ``NVFP4DynamicActivationNVFP4WeightConfig``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import torchao

REQUIRES = ("torchao",)
KERNEL = r"_scaled_mm"


@dataclass(frozen=True)
class Params:
    """Nothing to set."""


def unsupported(device: str, dtype: str) -> str | None:
    """Blackwell (compute capability 10.0) and bfloat16."""
    return torchao.cuda_in_bfloat16("NVFP4 with 4-bit activations", device, dtype)


def apply(model: Any, params: Params) -> Any:
    """Every linear layer but the head."""
    from torchao.prototype.mx_formats import NVFP4DynamicActivationNVFP4WeightConfig

    torchao.check_capability("NVFP4 with 4-bit activations", (10, 0))
    return torchao.quantise(model, NVFP4DynamicActivationNVFP4WeightConfig(use_triton_kernel=False))


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Two weights a byte, and their scales; the scaled product is the kernel looked for."""
    return torchao.stored(before, after, 4, "uint8")
