"""Between which texts a model thinks: what its card says, the config, or what most models use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from bench.errors import UsageError
from bench.models.architecture import Reasoning
from bench.models.reference import Hub, ModelRef, Named
from bench.models.registry import all_models, find_model

USUAL = ("<think>", "</think>")


def markers_of(model: ModelRef, workload: str, own: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the texts that begin and end reasoning; None for a model of which none are known.

    ``own`` are the keys of the workload's kind. The card of a repository is found by its ``hub``.
    """
    start, end = own.get("think_start"), own.get("think_end")
    if isinstance(start, str) and isinstance(end, str):
        return start, end
    card = _of_card(model)
    if card is not None:
        return card.start, card.end
    return USUAL if workload == "reasoning" else None


def _of_card(model: ModelRef) -> Reasoning | None:
    if isinstance(model, Named):
        try:
            return find_model(model.name).reasoning
        except UsageError:  # the config of a side names a card that only its own commit has
            return None
    return _by_repository().get(model.repo) if isinstance(model, Hub) else None


@cache
def _by_repository() -> Mapping[str, Reasoning]:
    return {card.hub: card.reasoning for card in all_models() if card.hub and card.reasoning}
