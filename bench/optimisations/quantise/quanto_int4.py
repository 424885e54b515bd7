"""optimum-quanto int4: 4-bit weights in groups.

Source: Hugging Face optimum-quanto. A scale and a shift a group of at most 128; unpacked before each product
where there is no kernel.
"""

from __future__ import annotations

from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import quanto
from bench.optimisations.shared.quanto import QuantoParams as Params

__all__ = ["Params"]
REQUIRES = ("optimum.quanto",)


def unsupported(device: str, dtype: str) -> str | None:
    """Runs on CPU and CUDA in every dtype."""
    return None


def apply(model: Any, params: Params) -> Any:
    """Every linear layer but the head."""
    return quanto.pack(model, params, "int4")


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Two weights a byte in QLinear modules; on a GPU rearranged in int32 (tinygemm) or int16 (AWQ)."""
    return quanto.packed_evidence(before, after, params, 4, "uint8", "int32", "int16")
