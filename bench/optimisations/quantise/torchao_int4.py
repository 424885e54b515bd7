"""torchao int4 weight-only: groups of weights share a scale, packed for the tinygemm kernel.

Source: torchao, ``Int4WeightOnlyConfig`` with the tile-packed format. Its kernel is part of PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine.evidence import Census, Check
from bench.errors import Unsupported
from bench.optimisations.shared import int4, torchao
from bench.optimisations.shared.linear import named_linears

REQUIRES = ("torchao",)
KERNEL = r"_weight_int4pack_mm"
TILE = 1024  # rows are padded to a multiple of this many inputs


@dataclass(frozen=True)
class Params:
    """``group_size`` weights share a scale and a zero point."""

    group_size: Literal[32, 64, 128, 256] = 64


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason unless CUDA and bfloat16: torchao 0.18 has no packing for CPUs."""
    if device != "cuda":
        return "torchao int4 packs for CUDA only; use quanto-int4, hqq or a GGUF scheme on a CPU"
    if dtype != "bfloat16":
        return f"torchao int4 needs runtime.dtype bfloat16, not {dtype}"
    return None


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the groups do not fill the rows of a model of this shape, or None."""
    return int4.refuse(params.group_size, architecture)


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head. Raises Unsupported for the shapes of ``check_shapes``."""
    from torchao.quantization import Int4WeightOnlyConfig

    check_shapes(model, params.group_size)
    config = Int4WeightOnlyConfig(group_size=params.group_size, int4_packing_format="tile_packed_to_4d")
    return torchao.quantise(model, config)


def check_shapes(model: Any, group_size: int) -> None:
    """Raise Unsupported if groups do not fill the rows of a layer, or if padding is too much.

    torchao would leave such a layer as it is. Padding is too much if it makes 4 bits at least 6 per weight.
    """
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
    """Check that eight weights take 32 bits, plus scales."""
    return torchao.stored(before, after, 4, "int32")
