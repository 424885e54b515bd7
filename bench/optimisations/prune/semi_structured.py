"""Store weights that are already 2:4 in a sparse form, and multiply them on sparse tensor cores.

Source: ``torch.sparse.to_sparse_semi_structured``, Mishra et al. 2021, arXiv 2104.08378. This step comes
after a pruning with ``pattern: "2:4"``. Without this step, dense kernels multiply the zeros.
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
    """This scheme has no settings."""


def unsupported(device: str, dtype: str) -> str | None:
    """Return a reason on a CPU and in float32: sparse tensor cores need CUDA and half precision."""
    if device != "cuda":
        return (
            "sparse tensor cores are a GPU's: on a CPU 2:4 zeros stay in dense kernels, leave this step out"
        )
    return None if dtype != "float32" else "2:4 products need runtime.dtype bfloat16 or float16"


def apply(model: Any, params: Params) -> Any:
    """Pack every linear layer except the head; all of them must be 2:4.

    Raises Unsupported on a GPU older than compute capability 8.0.
    """
    import torch

    if torch.cuda.get_device_capability() < (8, 0):
        raise Unsupported("2:4 products need compute capability 8.0 (Ampere) or newer")
    for _name, layer in named_linears(model):
        packed = torch.sparse.to_sparse_semi_structured(layer.weight.detach())
        layer.weight = torch.nn.Parameter(packed, requires_grad=False)
    return model


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that every matrix was 2:4, and that it takes at most 5/8 of the bytes that it took before."""
    old = {m.name: m for m in before.of("Linear") if not m.is_head}
    fit = sum(m.two_of_four for m in old.values())
    small = sum(m.name in old and m.stored_bytes <= 0.63 * old[m.name].stored_bytes for m in after.matrices)
    return [
        check("matrices with two zeros in every four", fit, 0 < fit == len(old), len(old)),
        check("matrices stored in 5/8 of their bytes", small, 0 < small == len(old), len(old)),
    ]
