"""NVFP4 weights and activations: products of 4-bit floats on Blackwell's tensor cores.

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
    """This scheme has no settings."""


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason unless CUDA and bfloat16. ``apply`` checks for compute capability 10.0 (Blackwell)."""
    return torchao.cuda_in_bfloat16("NVFP4 with 4-bit activations", device, dtype)


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head.

    Raises Unsupported below compute capability 10.0 (Blackwell).
    """
    from torchao.prototype.mx_formats import NVFP4DynamicActivationNVFP4WeightConfig

    torchao.check_capability("NVFP4 with 4-bit activations", (10, 0))
    return torchao.quantise(model, NVFP4DynamicActivationNVFP4WeightConfig(use_triton_kernel=False))


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that two weights take one byte, plus scales. ``KERNEL`` looks for the scaled product."""
    return torchao.stored(before, after, 4, "uint8")
