"""SparseGPT: set weights to zero column by column; the weights that stay compensate for the error.

Source: Frantar and Alistarh 2023, arXiv 2301.00774, as implemented in llm-compressor.
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
        from llmcompressor.modifiers.pruning import SparseGPTModifier

        return [SparseGPTModifier(**llm_compressor.sparsity(params))]

    return llm_compressor.with_new_weights("sparsegpt", model, params, modifiers)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check the fraction of zeros in every matrix, read from the matrices themselves."""
    return pruning.zeroed(after, params)
