"""Count which experts of a mixture get the tokens that a model reads, and describe its experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.engine import census, experts
from bench.records import Mixture


@dataclass
class Routing:
    """Count the tokens that each expert of each layer got, [layers][experts].

    ``chosen`` is how many experts of a layer work on one token.
    """

    counts: list[Any]
    chosen: int = 0

    def tokens(self) -> tuple[tuple[int, ...], ...]:
        """Return the counts as tuples."""
        return tuple(tuple(layer.tolist()) for layer in self.counts)


@contextmanager
def watched(engine: Any) -> Iterator[Routing]:
    """Count in the block which experts get the tokens that the model reads.

    Nothing is counted in a compiled model, because hooks would make torch compile it again, or in an engine
    whose model is not a torch module.
    """
    if not engine.TORCH or engine.compiled_graphs() or next(experts.mixtures(engine.model), None) is None:
        yield Routing([])
    else:
        with watched_model(engine.model) as routing:
            yield routing


@contextmanager
def watched_model(model: Any) -> Iterator[Routing]:
    """Count in the block which experts get the tokens that a torch module reads."""
    import torch

    modules = list(experts.mixtures(model))
    routing = Routing([torch.zeros(module.num_experts, dtype=torch.long) for module in modules])

    def counting_into(count: Any) -> Any:
        def hook(_module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            tensors = (*given, *named.values())
            index = next(tensor for tensor in tensors if not tensor.is_floating_point())  # chosen experts
            routing.chosen = index.shape[-1]
            count.add_(torch.bincount(index.flatten().cpu(), minlength=len(count))[: len(count)])

        return hook

    hooks = [
        module.register_forward_pre_hook(counting_into(count), with_kwargs=True)
        for module, count in zip(modules, routing.counts, strict=True)
    ]
    try:
        yield routing
    finally:
        for hook in hooks:
            hook.remove()


def described(engine: Any, as_loaded: Mixture | None, chosen: int = 0) -> Mixture | None:
    """Describe the experts of a model; None if it has none, or if it is not a torch module.

    ``as_loaded`` is the description from before any optimisation. It gives the parameters per expert, because
    packed weights cannot be counted as parameters. Without it the parameters are counted, and ``chosen`` must
    say how many experts work on a token.
    """
    modules = list(experts.mixtures(engine.model)) if engine.TORCH else []
    if not modules or not (as_loaded or chosen):
        return None
    count = sum(module.num_experts for module in modules)
    if as_loaded is None:
        parameters = sum(map(census.parameters, modules))
    else:
        parameters = as_loaded.parameters * count // as_loaded.experts
    return Mixture(
        layers=len(modules), experts=count, chosen=as_loaded.chosen if as_loaded else chosen,
        parameters=parameters, stored_bytes=census.bytes_in(modules),
    )  # fmt: skip
