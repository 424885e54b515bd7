"""bitsandbytes FP4: 4-bit floating-point weights, unpacked to the compute dtype for each product.

Source: Dettmers et al. 2023 (QLoRA), arXiv 2305.14314.
"""

from __future__ import annotations

from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import bnb

REQUIRES = ("bitsandbytes",)
KERNEL = bnb.KERNEL
Params = bnb.FourBitParams


def unsupported(device: str, dtype: str) -> str | None:
    """Runs on CPU and CUDA in every dtype."""
    return None


def apply(model: Any, params: bnb.FourBitParams) -> Any:
    """Replace every linear layer by a packed one."""
    return bnb.pack(model, params, "fp4")


def evidence(before: Census, after: Census, params: bnb.FourBitParams) -> list[Check]:
    """uint8 storage in Linear4bit modules at under 5 bits per weight."""
    return bnb.packed_evidence(before, after)
