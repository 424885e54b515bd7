"""MXFP4 weights and activations: 4-bit floats, a power of two for each 32 of them; needs Blackwell.

Source: OCP Microscaling formats 1.0, by torchao's ``MXDynamicActivationMXWeightConfig``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import torchao

REQUIRES = ("torchao",)
KERNEL = r"_scaled_mm|mx_fp4"


@dataclass(frozen=True)
class Params:
    """This scheme has no settings."""


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason unless CUDA and bfloat16. ``apply`` checks for compute capability 10.0 (Blackwell)."""
    return torchao.cuda_in_bfloat16("MXFP4", device, dtype)


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head.

    Raises Unsupported below compute capability 10.0 (Blackwell).
    """
    import torch
    from torchao.prototype.mx_formats import MXDynamicActivationMXWeightConfig

    four = torch.float4_e2m1fn_x2
    torchao.check_capability("MXFP4", (10, 0))
    return torchao.quantise(
        model, MXDynamicActivationMXWeightConfig(activation_dtype=four, weight_dtype=four)
    )


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that two weights take one byte, plus scales. ``KERNEL`` looks for the scaled product."""
    return torchao.stored(before, after, 4, "float4_e2m1fn_x2", "uint8")
