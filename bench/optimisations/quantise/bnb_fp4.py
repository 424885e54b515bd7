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


def apply(model: Any, params: bnb.FourBitParams) -> Any:
    """Replace every linear layer except the head by a packed one."""
    return bnb.pack(model, params, "fp4")


def evidence(before: Census, after: Census, params: bnb.FourBitParams) -> list[Check]:
    """Check for uint8 storage in Linear4bit modules, at 4 to 6 bits per weight with scales."""
    return bnb.packed_evidence(before, after)
