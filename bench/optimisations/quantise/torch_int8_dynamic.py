"""torch dynamic int8: int8 weights per tensor, activations quantised on the fly, the head included.

Source: ``torch.ao.quantization.quantize_dynamic``. Fast on CPUs with integer dot products, and coarse:
one scale for a whole matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check, check, replaced

REQUIRES = ("torch",)
KERNEL = r"quantized::linear_dynamic"


@dataclass(frozen=True)
class Params:
    """Nothing to set."""


def unsupported(device: str, dtype: str) -> str | None:
    """CPU and float32 only: its kernels (FBGEMM, oneDNN) exist nowhere else."""
    if device != "cpu":
        return "torch dynamic int8 has CPU kernels only; use bnb-int8 on CUDA"
    if dtype != "float32":
        return f"torch dynamic int8 needs runtime.dtype float32, not {dtype}"
    return None


def apply(model: Any, params: Params) -> Any:
    """Every linear layer, in place of the original."""
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deprecated.*")
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """qint8 storage in dynamic-quantised Linear modules (a tied head gets an int8 copy of its own)."""
    import torch

    engine = torch.backends.quantized.engine
    return [
        *replaced(before, after, "DynamicQuantizedLinear", "qint8"),
        check("quantised engine", engine, engine not in ("none", ""), "a CPU engine"),
    ]
