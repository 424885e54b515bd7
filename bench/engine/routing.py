"""Which experts of a mixture get the tokens that a model reads, and what experts it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.engine import census, experts
from bench.records import Mixture


@dataclass
class Routing:
    """How many tokens each expert of each layer got while it was watched, [layers][experts], and how many
    experts work on one token."""

    counts: list[Any]
    chosen: int = 0

    def tokens(self) -> tuple[tuple[int, ...], ...]:
        """Return the counts."""
        return tuple(tuple(one.tolist()) for one in self.counts)


@contextmanager
def watched(engine: Any) -> Iterator[Routing]:
    """Count in the block which experts get the tokens that the model reads.

    Nothing is counted in a compiled model, which would be compiled again, or in an engine of no torch module.
    """
    if not engine.TORCH or engine.compiled_graphs() or next(experts.mixtures(engine.model), None) is None:
        yield Routing([])
    else:
        with watched_model(engine.model) as found:
            yield found


@contextmanager
def watched_model(model: Any) -> Iterator[Routing]:
    """Count in the block which experts get the tokens that a torch module reads."""
    import torch

    modules = list(experts.mixtures(model))

    found = Routing([torch.zeros(one.num_experts, dtype=torch.long) for one in modules])

    def adds_to(count: Any) -> Any:
        def look(_module: Any, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            index = next(one for one in (*given, *named.values()) if not one.is_floating_point())
            found.chosen = index.shape[-1]
            count.add_(torch.bincount(index.flatten().cpu(), minlength=len(count))[: len(count)])

        return look

    hooks = [
        module.register_forward_pre_hook(adds_to(count), with_kwargs=True)
        for module, count in zip(modules, found.counts, strict=True)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def described(engine: Any, as_loaded: Mixture | None, chosen: int = 0) -> Mixture | None:
    """Return what experts the model has; None without any, or for an engine that is no torch module.

    ``as_loaded`` is the same before any optimisation: packed weights are not parameters, so an expert has as
    many as then. Without it they are counted, and ``chosen`` work on a token.
    """
    modules = list(experts.mixtures(engine.model)) if engine.TORCH else []
    if not modules or not (as_loaded or chosen):
        return None
    count = sum(module.num_experts for module in modules)
    if as_loaded is None:
        parameters = sum(one.numel() for module in modules for one in module.parameters())
    else:
        parameters = as_loaded.parameters * count // as_loaded.experts
    return Mixture(
        layers=len(modules), experts=count, chosen=as_loaded.chosen if as_loaded else chosen,
        parameters=parameters, stored_bytes=census.bytes_in(modules),
    )  # fmt: skip
