"""torchao int4 weight-only: groups of weights share a scale, packed for the tinygemm kernel.

Source: torchao, ``Int4WeightOnlyConfig`` with the tile-packed format, whose kernel is part of PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.engine.evidence import Census, Check
from bench.errors import Unsupported
from bench.optimisations.shared import torchao
from bench.optimisations.shared.linear import named_linears

REQUIRES = ("torchao",)
KERNEL = r"_weight_int4pack_mm"
TILE = 1024  # inputs: shorter rows are padded


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
    """Every linear layer but the head. Unsupported for shapes that groups do not fill, or tiles hardly."""
    from torchao.quantization import Int4WeightOnlyConfig

    check_shapes(model, params.group_size)
    config = Int4WeightOnlyConfig(group_size=params.group_size, int4_packing_format="tile_packed_to_4d")
    return torchao.quantise(model, config)


def check_shapes(model: Any, group_size: int) -> None:
    """Unsupported where torchao would leave a layer as it is, or pad so much that 4 bits are 6 a weight."""
    real = padded = 0
    for name, layer in named_linears(model):
        outputs, inputs = layer.weight.shape
        if inputs % group_size:
            raise Unsupported(f"groups of {group_size} do not fill the {inputs} weights of a row of {name}")
        real += outputs * inputs
        padded += outputs * -(-inputs // TILE) * TILE
    bits = (4 + 32 / group_size) * padded / real
    if bits >= 6:
        raise Unsupported(
            f"torchao's int4 kernel pads rows to multiples of {TILE}, {bits:.1f} bits per weight here; "
            "torch-int4 pads nothing"
        )


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Eight weights in 32 bits, and their scales."""
    return torchao.stored(before, after, 4, "int32")
