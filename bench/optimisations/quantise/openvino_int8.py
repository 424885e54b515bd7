"""OpenVINO int8: NNCF packs the weights of every matrix in eight bits, with one scale per row.

Source: ``nncf.compress_weights``. By default it packs the embedding and the head too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from bench.engine.evidence import Census, Check, bits_a_weight, replaced
from bench.optimisations.shared.nncf import EMBEDDING, LAYER, activations_as, ends, packed

REQUIRES = ("openvino", "nncf")
RUNTIMES = ("openvino",)
ENCODERS = RUNTIMES
STORED = {"INT8_ASYM": "u8", "INT8_SYM": "i8"}


@dataclass(frozen=True)
class Params:
    """``mode`` is with (ASYM) or without (SYM) zero points.

    With ``activations`` ``int8``, OpenVINO's own default, products are in integers on processors with VNNI,
    and activations are rounded by groups of 32 at every product. ``float`` leaves activations as they are.
    """

    mode: Literal["INT8_ASYM", "INT8_SYM"] = "INT8_ASYM"
    activations: Literal["float", "int8"] = "float"


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason on a GPU: the openvino engine runs on the CPU."""
    return None if device == "cpu" else "the openvino engine runs on the CPU"


def apply(model: Any, params: Params) -> Any:
    """Return a graph compiled from the packed one, which is kept for the next run."""
    return packed(model, params.mode, params.activations)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that every executed matrix has eight bits, at one byte per weight plus scales.

    ``ends`` looks at the embedding, which is a table and no product.
    """
    stored = STORED[params.mode]
    products = replace(after, matrices=tuple(one for one in after.matrices if one.module != EMBEDDING))
    return [
        *replaced(before, products, LAYER, stored, was=LAYER),
        bits_a_weight(before, after, LAYER, 8),
        ends(after, stored),
        activations_as(after, params.activations),
    ]
