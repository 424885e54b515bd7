"""4-bit weights rounded to nearest, on PyTorch's own int4 kernel: calibrated 4-bit schemes must beat this.

Source: the tinygemm kernel of PyTorch. Each group spans its smallest and its largest weight. Nothing is
calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import int4
from bench.optimisations.shared.linear import named_linears

REQUIRES = ("torch",)
KERNEL = int4.KERNEL
NOTE = int4.NOTE


@dataclass(frozen=True)
class Params:
    """``group_size`` weights of a row share a scale and a zero."""

    group_size: Literal[32, 64, 128, 256] = 64


def unsupported(device: str, dtype: str) -> str | None:
    """Return why the int4 kernel does not run here, or None."""
    return int4.unsupported(device, dtype)


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the groups do not fill the rows of a model of this shape, or None."""
    return int4.refuse(params.group_size, architecture)


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""
    int4.check_shapes(model, params.group_size)
    found: dict[str, Any] = {}
    for name, layer in named_linears(model):
        scale, zero = int4.round_to_nearest(layer.weight, params.group_size)
        found |= int4.tensors(name, layer.weight, scale, zero)
    return int4.replace(model, found)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for packed layers of four bits per weight."""
    return int4.evidence(before, after)
