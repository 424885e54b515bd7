"""torch dynamic int8: one scale per weight matrix, activations quantised on the fly, the head included.

Source: ``torch.ao.quantization.quantize_dynamic``. It is fast on CPUs with integer dot products, and coarse,
because a whole matrix has one scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check, check, replaced

REQUIRES = ("torch",)
ENCODERS = ("transformers",)
KERNEL = r"quantized::linear_dynamic"


@dataclass(frozen=True)
class Params:
    """This scheme has no settings."""


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason unless CPU and float32: its kernels (FBGEMM, oneDNN) exist for nothing else."""
    if device != "cpu":
        return "torch dynamic int8 has CPU kernels only; use bnb-int8 on CUDA"
    if dtype != "float32":
        return f"torch dynamic int8 needs runtime.dtype float32, not {dtype}"
    return None


def apply(model: Any, params: Params) -> Any:
    """Quantise every linear layer, the head included, in place of the original."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deprecated.*")
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for qint8 storage in dynamic-quantised Linear modules.

    A head that is tied to the embedding gets an int8 copy of its own.
    """
    import torch

    engine = torch.backends.quantized.engine
    return [
        *replaced(before, after, "DynamicQuantizedLinear", "qint8"),
        check("quantised engine", engine, engine not in ("none", ""), "a CPU engine"),
    ]
