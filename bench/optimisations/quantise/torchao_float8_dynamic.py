"""torchao float8 dynamic: e4m3 weights and activations, one scale per row of each, float8 products.

Source: torchao, ``Float8DynamicActivationFloat8WeightConfig``.
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
    """Return a reason unless CUDA and bfloat16. ``apply`` checks for compute capability 8.9 (Ada, Hopper)."""
    return torchao.cuda_in_bfloat16("float8 multiplication", device, dtype)


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head.

    Raises Unsupported below compute capability 8.9 (Ada, Hopper).
    """
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow

    torchao.check_capability("float8 multiplication", (8, 9))
    return torchao.quantise(model, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for float8 storage. ``KERNEL`` looks for the float8 product."""
    return torchao.stored(before, after, 8, "float8_e4m3fn")
