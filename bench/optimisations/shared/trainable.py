"""Choose what a training trains, a model's own weights or low-rank factors of them, on every processor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.engine import one_off, processors
from bench.errors import Unsupported
from bench.optimisations.shared.linear import linears

if TYPE_CHECKING:
    from torch import Tensor

LORA_ALPHA = 2.0  # alpha is this many times the rank


@contextmanager
def every_processor() -> Iterator[None]:
    """Use all processors that this process may use, however many the row is measured with."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(processors.COUNT)
    one_off.detail(processors=processors.COUNT)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def trainable(model: Any, lora_rank: int | None, seed: int) -> Iterator[dict[str, Tensor]]:
    """Yield the weights to train, by name: all except the embedding and the head, or low-rank factors.

    The factors are merged at the end. Raises Unsupported if weights are already packed, or are not in
    float32.
    """
    import torch

    if any(not p.is_floating_point() for p in model.parameters()):
        raise Unsupported("packed weights cannot be trained: put the quantisation after the distillation")
    ends = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    layers = [layer for _parent, _name, layer in linears(model)]
    if lora_rank is None:
        weights = {name: one for name, one in model.named_parameters() if id(one) not in ends}
    else:
        weights = _add_factors(model, layers, lora_rank, seed)
    dtype = next(iter(weights.values())).dtype
    if dtype != torch.float32:
        raise Unsupported(f"weights are trained in float32: set runtime.dtype float32, not {dtype}")
    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        yield weights
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
        if lora_rank is not None:
            for layer in layers:
                torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
            model.requires_grad_(False)


def _add_factors(model: Any, layers: Sequence[Any], rank: int, seed: int) -> dict[str, Any]:
    """Add LoRA factors (Hu et al. 2022, arXiv 2106.09685): weight + B·A·alpha/rank, A random, B zero."""
    import torch

    class Factors(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, weight: Any) -> None:
            super().__init__()
            outputs, inputs = weight.shape
            self.down = torch.nn.Parameter(
                torch.randn(rank, inputs, device=weight.device) / math.sqrt(inputs)
            )
            self.up = torch.nn.Parameter(torch.zeros(outputs, rank, device=weight.device))

        def forward(self, weight: Any) -> Any:
            return weight + self.up @ self.down * LORA_ALPHA

    torch.manual_seed(seed)
    for layer in layers:
        torch.nn.utils.parametrize.register_parametrization(layer, "weight", Factors(layer.weight))
    return {name: one for name, one in model.named_parameters() if name.endswith((".up", ".down"))}
