"""optimum-quanto int2: 2-bit weights in groups.

Source: Hugging Face optimum-quanto. Each group of at most 128 weights has a scale and a shift. Weights are
unpacked before each product.
"""

from __future__ import annotations

from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import quanto
from bench.optimisations.shared.quanto import QuantoParams as Params

__all__ = ["Params"]
REQUIRES = ("optimum.quanto",)
unused = quanto.unused


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""
    return quanto.pack(model, params, "int2")


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that QLinear modules store four weights in one byte."""
    return quanto.packed_evidence(before, after, params, 2, "uint8")
