"""torchao int4 weight-only: groups of weights share a scale, packed for the tinygemm kernel.

Source: torchao, ``Int4WeightOnlyConfig`` with the tile-packed format, whose kernel is part of PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.optimisations import torchao
from bench.optimisations.evidence import Census, Check

REQUIRES = ("torchao",)
KERNEL = r"_weight_int4pack_mm"


@dataclass(frozen=True)
class Params:
    """``group_size`` weights share a scale and a zero point."""

    group_size: Literal[32, 64, 128, 256] = 64


def unsupported(device: str, dtype: str) -> str | None:
    """CUDA and bfloat16 only: torchao 0.18 has no packing for CPUs."""
    if device != "cuda":
        return "torchao int4 packs for CUDA only; use quanto-int4, hqq or a GGUF scheme on a CPU"
    if dtype != "bfloat16":
        return f"torchao int4 needs runtime.dtype bfloat16, not {dtype}"
    return None


def apply(model: Any, params: Params) -> Any:
    """Every linear layer but the head."""
    from torchao.quantization import Int4WeightOnlyConfig

    config = Int4WeightOnlyConfig(group_size=params.group_size, int4_packing_format="tile_packed_to_4d")
    return torchao.quantise(model, config)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Eight weights in 32 bits, and their scales."""
    return torchao.stored(before, after, 4, "int32")
