"""optimum-quanto float8: float8 (e4m3) weights, one scale per output channel.

Source: Hugging Face optimum-quanto. If there is no kernel, weights are converted to the compute dtype before
each product.
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
    return quanto.pack(model, params, "float8")


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for float8 storage in QLinear modules; on a GPU, four weights in one int32 (Marlin)."""
    return quanto.packed_evidence(before, after, params, 8, "float8_e4m3fn", "int32")
