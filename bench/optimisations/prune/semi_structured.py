"""Weights that are 2:4 already, stored as such and multiplied by sparse tensor cores.

Source: ``torch.sparse.to_sparse_semi_structured``, Mishra et al. 2021, arXiv 2104.08378. The step after a
pruning with ``pattern: "2:4"``; without it those zeros are multiplied by dense kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.optimisations.shared.linear import named_linears

REQUIRES = ("torch",)
WEIGHTS = "packs"
KERNEL = r"_cslt_sparse_mm|_sparse_semi_structured"


@dataclass(frozen=True)
class Params:
    """Nothing to set."""


def unsupported(device: str, dtype: str) -> str | None:
    """CUDA, in half precision."""
    if device != "cuda":
        return (
            "sparse tensor cores are a GPU's: on a CPU 2:4 zeros stay in dense kernels, leave this step out"
        )
    return None if dtype != "float32" else "2:4 products need runtime.dtype bfloat16 or float16"


def apply(model: Any, params: Params) -> Any:
    """Every linear layer but the head, where all of them are 2:4."""
    import torch

    if torch.cuda.get_device_capability() < (8, 0):
        raise Unsupported("2:4 products need compute capability 8.0 (Ampere) or newer")
    for _name, layer in named_linears(model):
        packed = torch.sparse.to_sparse_semi_structured(layer.weight.detach())
        layer.weight = torch.nn.Parameter(packed, requires_grad=False)
    return model


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Every matrix was 2:4, and takes at most 5/8 of the bytes it took."""
    old = {m.name: m for m in before.of("Linear") if not m.is_head}
    fit = sum(m.two_of_four for m in old.values())
    small = sum(m.name in old and m.stored_bytes <= 0.63 * old[m.name].stored_bytes for m in after.matrices)
    return [
        check("matrices with two zeros in every four", fit, 0 < fit == len(old), len(old)),
        check("matrices stored in 5/8 of their bytes", small, 0 < small == len(old), len(old)),
    ]
