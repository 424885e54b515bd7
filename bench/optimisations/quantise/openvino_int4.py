"""OpenVINO int4: NNCF packs weights in four bits by groups along a row, the most sensitive in eight.

Source: ``nncf.compress_weights``, without data. Weights that are not packed in four bits are packed in eight
with zero points (its backup mode INT8_ASYM); these always include the embedding and the head.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine.evidence import Census, Check, bits_a_weight, check, replaced
from bench.optimisations.shared.nncf import LAYER, activations_as, ends, packed

REQUIRES = ("openvino", "nncf")
RUNTIMES = ("openvino",)
STORED = {"INT4_ASYM": "u4", "INT4_SYM": "i4"}
BACKUP = "u8"


@dataclass(frozen=True)
class Params:
    """``mode`` is with (ASYM) or without (SYM) zero points.

    ``group_size`` weights share a scale; -1 means whole rows. ``ratio`` is the share of weights in four bits,
    above 0 and at most 1. ``activations`` is as for ``openvino-int8``.
    """

    mode: Literal["INT4_ASYM", "INT4_SYM"] = "INT4_ASYM"
    group_size: Literal[-1, 32, 64, 128] = 64
    ratio: float = 1.0
    activations: Literal["float", "int8"] = "float"

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise ValueError("ratio must be above 0 and at most 1")


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason on a GPU: the openvino engine runs on the CPU."""
    return None if device == "cpu" else "the openvino engine runs on the CPU"


def apply(model: Any, params: Params) -> Any:
    """Return a graph compiled from the packed one, which is kept for the next run."""
    return packed(model, params.mode, params.activations, group_size=params.group_size, ratio=params.ratio)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that every layer is packed, and that the share of weights in four bits is as asked.

    The share may be too low by at most one layer. All layers together must take the bytes of this share.
    """
    stored = STORED[params.mode]
    dtypes = (stored,) if params.ratio == 1 else (stored, BACKUP)
    bits = 4 * params.ratio + 8 * (1 - params.ratio)
    return [
        *replaced(before, after, LAYER, *dtypes, was=LAYER),
        _share(before, after, stored, params.ratio),
        bits_a_weight(before, after, LAYER, bits),
        ends(after, BACKUP),
        activations_as(after, params.activations),
    ]


def _share(before: Census, after: Census, stored: str, ratio: float) -> Check:
    """Check the share of weights in four bits, over all layers except the head."""
    elements = {one.name: one.elements for one in before.of(LAYER) if not one.is_head}
    weights: Counter[str] = Counter()
    for one in after.of(LAYER):
        weights[one.dtype] += elements.get(one.name, 0)
    total, largest = sum(elements.values()), max(elements.values(), default=0)
    found = weights[stored] / total if total else 0.0
    fits = bool(total) and ratio - largest / total < found <= ratio
    return check(f"share of weights in {stored}", f"{found:.3f}", fits, f"{ratio:g}, less at most one layer")
