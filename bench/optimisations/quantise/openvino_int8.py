"""OpenVINO int8: weights of every matrix in eight bits, one scale per row, by NNCF.

Source: ``nncf.compress_weights``. The embedding and the head are packed too, as is its custom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.engine.evidence import Census, Check, bits_a_weight, replaced
from bench.optimisations.shared.nncf import LAYER, activations_as, ends, packed

REQUIRES = ("openvino", "nncf")
RUNTIMES = ("openvino",)
STORED = {"INT8_ASYM": "u8", "INT8_SYM": "i8"}


@dataclass(frozen=True)
class Params:
    """``mode``: with or without zero points. ``activations``: ``int8`` multiplies in integers where the
    processor has VNNI, activations rounded by groups of 32 at every product (OpenVINO's own default);
    ``float`` leaves them as they are."""

    mode: Literal["INT8_ASYM", "INT8_SYM"] = "INT8_ASYM"
    activations: Literal["float", "int8"] = "float"


def unsupported(device: str, dtype: str) -> str | None:
    """What the engine can load can be packed."""
    return None if device == "cpu" else "the openvino engine runs on the CPU"


def apply(model: Any, params: Params) -> Any:
    """A graph compiled from the packed one, which is kept for the next run."""
    return packed(model, params.mode, params.activations)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Eight bits in every matrix that is executed, at one byte per weight and its scales."""
    stored = STORED[params.mode]
    return [
        *replaced(before, after, LAYER, stored, was=LAYER),
        bits_a_weight(before, after, LAYER, 8),
        ends(after, stored),
        activations_as(after, params.activations),
    ]
