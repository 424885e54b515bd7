"""bitsandbytes LLM.int8(): int8 weights and activations, with outlier columns in floating point.

Source: Dettmers et al. 2022, arXiv 2208.07339.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.engine.evidence import Census, Check, replaced
from bench.optimisations.shared.linear import replace_linears

REQUIRES = ("bitsandbytes",)
KERNEL = r"MatMul8bit|bitsandbytes::int8"
MOST_THRESHOLD = 65_504.0  # the largest number in float16


@dataclass(frozen=True)
class Params:
    """Activations above the magnitude ``threshold`` are computed in floating point. 0 turns this off."""

    threshold: float = 6.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= MOST_THRESHOLD:
            raise ValueError(f"threshold must be 0 to {MOST_THRESHOLD:g}, not {self.threshold:g}")


def apply(model: Any, params: Params) -> Any:
    """Replace every linear layer except the head; moving a new layer from the CPU to its device quantises it.

    One logger is silenced: it would log a line at every product with inputs other than float16.
    """
    import bitsandbytes as bnb

    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)

    def quantised(layer: Any) -> Any:
        new = bnb.nn.Linear8bitLt(
            layer.in_features,
            layer.out_features,
            layer.bias is not None,
            has_fp16_weights=False,
            threshold=params.threshold,
            device="meta",
        )
        new.weight = bnb.nn.Int8Params(layer.weight.data.cpu(), requires_grad=False, has_fp16_weights=False)
        new.bias = layer.bias
        new = new.to(layer.weight.device)
        new.forward = partial(_by_rows, new.forward)
        return new

    return replace_linears(model, quantised)


def _by_rows(forward: Callable[[Any], Any], x: Any) -> Any:
    """Compute y [..., out] from x [..., in]. bitsandbytes 0.50 looks for outliers in two or three dimensions;
    latent attention (DeepSeek) multiplies in four."""
    if x.dim() <= 3:
        return forward(x)
    return forward(x.flatten(0, -2)).unflatten(0, x.shape[:-1])


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for int8 storage in Linear8bitLt modules."""
    return replaced(before, after, "Linear8bitLt", "int8")
