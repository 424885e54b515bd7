"""Magnitude pruning, unstructured: the smallest weights of each matrix become zero.

Source: Han et al. 2015, arXiv 1506.02626. Dense kernels multiply zeros like any other number, so by
itself this saves neither time nor memory: the row is there to show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.optimisations.evidence import Census, Check, check
from bench.optimisations.linear import linears

REQUIRES = ("torch",)
NOTE = "zeros in dense kernels: they are multiplied like any other number"


@dataclass(frozen=True)
class Params:
    """``sparsity``: the fraction of each linear layer's weights set to zero, strictly between 0 and 1."""

    sparsity: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise ValueError("sparsity must be strictly between 0 and 1, such as 0.5")


def unsupported(device: str, dtype: str) -> str | None:
    """Runs everywhere."""
    return None


def apply(model: Any, params: Params) -> Any:
    """Per matrix: the ``sparsity`` share of weights smallest in magnitude is zeroed in place."""
    for _parent, _name, layer in linears(model):
        weight = layer.weight.data.view(-1)
        smallest = weight.abs().topk(round(params.sparsity * weight.numel()), largest=False, sorted=False)
        weight[smallest.indices] = 0
    return model


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Zero fraction of every pruned matrix, read from the matrices themselves."""
    fractions = [m.zero_fraction or 0.0 for m in after.of("Linear") if not m.is_head]
    low, high = min(fractions, default=0.0), max(fractions, default=0.0)
    found = f"{low:.4f} to {high:.4f} in {len(fractions)} matrices"
    holds = bool(fractions) and low >= params.sparsity - 0.001 and high <= params.sparsity + 0.02
    return [check("zero fraction of each matrix", found, holds, f"{params.sparsity:g}")]
