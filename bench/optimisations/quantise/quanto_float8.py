"""optimum-quanto float8: float8 (e4m3) weights, one scale per output channel.

Source: Hugging Face optimum-quanto. Converted to the compute dtype before each product where there is no
kernel.
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
    return quanto.pack(model, params, "float8")


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """float8 storage in QLinear modules; on a GPU four in an int32 (Marlin)."""
    return quanto.packed_evidence(before, after, params, 8, "float8_e4m3fn", "int32")
