"""Magnitude pruning: set the smallest weights to zero, in each matrix or in all matrices together.

Source: Han et al. 2015, arXiv 1506.02626. Dense kernels multiply zeros like any other number, so pruning
alone saves neither time nor memory. The row is there to show this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.engine.evidence import Census, Check, check, left_alone, touched
from bench.optimisations.shared.linear import named_linears
from bench.optimisations.shared.pruning import NOTE, TOO_MANY, SparsityParams, zeroed

REQUIRES = ("torch",)
EXPERTS = "lent"
__all__ = ["NOTE"]


@dataclass(frozen=True)
class Params(SparsityParams):
    """``sparsity`` is the fraction of weights to set to zero, strictly between 0 and 1.

    ``scope`` ``layer`` takes this fraction of each matrix, ``global`` takes it of all matrices together.
    ``pattern`` ``2:4`` sets two of every four consecutive weights of a row to zero.
    """

    scope: Literal["layer", "global"] = "layer"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern == "2:4" and self.scope == "global":
            raise ValueError("the pattern 2:4 is one of each matrix: scope must be layer")


def apply(model: Any, params: Params) -> Any:
    """Set the smallest weights to zero, in place."""
    weights = [layer.weight.data for _name, layer in named_linears(model)]
    if params.scope == "global":
        threshold = _quantile(weights, params.sparsity)
        for weight in weights:
            weight[weight.abs() <= threshold] = 0
    for weight in weights if params.scope == "layer" else ():
        rows = weight.reshape(-1, 4) if params.pattern == "2:4" else weight.reshape(1, -1)
        count = round(params.sparsity * rows.shape[1])
        rows.scatter_(1, rows.abs().topk(count, dim=1, largest=False, sorted=False).indices, 0)
        if rows.data_ptr() != weight.data_ptr():  # a transposed view is copied by ``reshape``
            weight.copy_(rows.view_as(weight))
    return model


def _quantile(weights: list[Any], share: float) -> float:
    """Return the magnitude that ``share`` of all weights do not exceed."""
    import torch

    magnitudes = torch.cat([weight.abs().flatten().float() for weight in weights])
    return float(magnitudes.kthvalue(round(share * magnitudes.numel())).values)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the fraction of zeros in each matrix, or in all together, read from the matrices themselves."""
    if params.scope == "layer":
        return zeroed(after, params)
    pruned = [m for m in after.of("Linear") if not m.is_head]
    total = sum(m.elements for m in pruned)
    share = sum((m.zero_fraction or 0.0) * m.elements for m in pruned) / total if total else 0.0
    holds = bool(pruned) and abs(share - params.sparsity) <= TOO_MANY
    found = check("zero fraction of all matrices", f"{share:.4f}", holds, f"{params.sparsity:g}")
    return [found, *touched(total, left_alone(after, "Linear"))]
