"""optimum-quanto int8: int8 weights, one scale per output channel.

Source: Hugging Face optimum-quanto. Weights are converted inside the product.
"""

from __future__ import annotations

from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import quanto
from bench.optimisations.shared.quanto import QuantoParams as Params

__all__ = ["Params"]
REQUIRES = ("optimum.quanto",)
ENCODERS = ("transformers",)
unused = quanto.unused


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""
    return quanto.pack(model, params, "int8")


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for int8 storage in QLinear modules."""
    return quanto.packed_evidence(before, after, params, 8, "int8")
