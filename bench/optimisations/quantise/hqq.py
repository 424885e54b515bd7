"""HQQ: 8, 4, 3, 2 or 1 bits in groups; half-quadratic optimisation finds the scales, without calibration.

Source: Badri and Shaji 2023, https://mobiusml.github.io/hqq_blog. Weights are unpacked to the compute dtype
before each product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.engine.evidence import Census, Check, bits_a_weight, replaced
from bench.optimisations.shared.linear import replace_linears

REQUIRES = ("hqq",)
NOTE = "its layers are unpacked in every step: torch has no kernel for them on this device"
BETWEEN_RUNS_SD = 0.045  # four runs of four rows within ten hours: docs/decisions/0025


@dataclass(frozen=True)
class Params:
    """A weight takes ``bits`` bits; ``group_size`` weights share a scale and a zero point."""

    bits: Literal[8, 4, 3, 2, 1] = 4
    group_size: Literal[16, 32, 64, 128] = 64


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    config = BaseQuantizeConfig(nbits=params.bits, group_size=params.group_size)

    def packed(layer: Any) -> Any:
        weight = layer.weight
        return HQQLinear(layer, quant_config=config, compute_dtype=weight.dtype, device=str(weight.device))

    return replace_linears(model, packed)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for HQQLinear modules with ``bits`` bits per weight.

    Each group adds a scale and a zero point, in float32 at most.
    """
    dtype = "int32" if params.bits == 3 else "uint8"
    return [
        *replaced(before, after, "HQQLinear", dtype),
        bits_a_weight(before, after, "HQQLinear", params.bits, scales=1 + 64 / params.group_size),
    ]
