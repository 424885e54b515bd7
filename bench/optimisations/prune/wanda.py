"""Wanda: in each row, set the weights with the smallest product with their input activations to zero.

Source: Sun et al. 2024, arXiv 2306.11695, as implemented in llm-compressor. The score of a weight is |W|
times the norm of its input. Nothing is retrained.
"""

from __future__ import annotations

from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import llm_compressor, pruning
from bench.optimisations.shared.pruning import CalibratedSparsityParams as Params

__all__ = ["Params"]
REQUIRES = ("llmcompressor",)
EXPERTS = "lent"
NOTE = pruning.NOTE


def apply(model: Any, params: Params) -> Any:
    """Prune every linear layer except the head."""

    def modifiers() -> list[Any]:
        from llmcompressor.modifiers.pruning import WandaPruningModifier

        return [WandaPruningModifier(**llm_compressor.sparsity(params))]

    return llm_compressor.with_new_weights("wanda", model, params, modifiers)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the fraction of zeros in every matrix: the library has reported success without pruning."""
    return pruning.zeroed(after, params)
