"""torchao int8 dynamic: int8 weights, activations quantised token by token, integer products.

Source: torchao, ``Int8DynamicActivationInt8WeightConfig``. It is the successor of torch's own dynamic int8,
with one scale per output channel instead of one per matrix. Without torch.compile it is slower on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import torchao

REQUIRES = ("torchao",)
KERNEL = r"_int_mm"
NOTE = torchao.INTEGER


@dataclass(frozen=True)
class Params:
    """This scheme has no settings."""


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer except the head."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    return torchao.quantise(model, Int8DynamicActivationInt8WeightConfig())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for int8 storage. ``KERNEL`` looks for the integer product."""
    return torchao.stored(before, after, 8, "int8")
