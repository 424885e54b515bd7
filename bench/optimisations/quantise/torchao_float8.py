"""torchao float8 weight-only: e4m3 weights, one scale per output channel.

Source: torchao, ``Float8WeightOnlyConfig``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import torchao

REQUIRES = ("torchao",)
NOTE = torchao.EAGER


@dataclass(frozen=True)
class Params:
    """This scheme has no settings."""


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""
    from torchao.quantization import Float8WeightOnlyConfig

    return torchao.quantise(model, Float8WeightOnlyConfig())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for float8 storage."""
    return torchao.stored(before, after, 8, "float8_e4m3fn")
