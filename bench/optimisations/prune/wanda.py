"""Wanda: the weights whose product with the activations they meet is smallest, row by row, become zero.

Source: Sun et al. 2024, arXiv 2306.11695, by llm-compressor. |W| times the norm of its input, nothing
retrained.
"""

from __future__ import annotations

from typing import Any

from bench.engine.evidence import Census, Check
from bench.optimisations.shared import llm_compressor, pruning
from bench.optimisations.shared.pruning import CalibratedSparsityParams as Params

__all__ = ["Params"]
REQUIRES = ("llmcompressor",)
NOTE = pruning.NOTE


def unsupported(device: str, dtype: str) -> str | None:
    """Runs everywhere."""
    return None


def apply(model: Any, params: Params) -> Any:
    """Every linear layer but the head."""

    def modifiers() -> list[Any]:
        from llmcompressor.modifiers.pruning import WandaPruningModifier

        return [WandaPruningModifier(**llm_compressor.sparsity(params))]

    return llm_compressor.with_new_weights("wanda", model, params, modifiers)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Zero fraction of every matrix: this method's library has returned success having pruned nothing."""
    return pruning.zeroed(after, params)
