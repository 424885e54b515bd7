"""MXFP4, weights and activations: 4-bit floats, 32 of them to a power of two, on Blackwell's tensor cores.

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
    """Nothing to set."""


def unsupported(device: str, dtype: str) -> str | None:
    """Blackwell (compute capability 10.0) and bfloat16."""
    return torchao.cuda_in_bfloat16("MXFP4", device, dtype)


def apply(model: Any, params: Params) -> Any:
    """Every linear layer but the head."""
    import torch
    from torchao.prototype.mx_formats import MXDynamicActivationMXWeightConfig

    four = torch.float4_e2m1fn_x2
    torchao.check_capability("MXFP4", (10, 0))
    return torchao.quantise(
        model, MXDynamicActivationMXWeightConfig(activation_dtype=four, weight_dtype=four)
    )


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Two weights a byte, and their scales; the scaled product is the kernel looked for."""
    return torchao.stored(before, after, 4, "float4_e2m1fn_x2", "uint8")
