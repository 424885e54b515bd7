"""Find the texts between which a model thinks: by its card, by the config, or those that most models use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bench.models.architecture import Reasoning
from bench.models.reference import Hub, ModelRef, Named
from bench.models.registry import all_models, find_model

USUAL = ("<think>", "</think>")


def markers_of(
    model: ModelRef, workload: str, own: Mapping[str, object], within: tuple[Path, ...] = ()
) -> tuple[str, str] | None:
    """Return the texts that begin and end reasoning; None for a model of which none are known.

    ``own`` are the keys of the workload's kind. The card of a repository is found by its ``hub``, among the
    model files ``within`` these directories if any are given.
    """
    start, end = own.get("think_start"), own.get("think_end")
    if isinstance(start, str) and isinstance(end, str):
        return start, end
    card = _of_card(model, within)
    if card is not None:
        return card.start, card.end
    return USUAL if workload == "reasoning" else None


def _of_card(model: ModelRef, within: tuple[Path, ...]) -> Reasoning | None:
    if isinstance(model, Named):
        return find_model(model.name, model.within).reasoning
    return _by_repository(within).get(model.repo) if isinstance(model, Hub) else None


@cache
def _by_repository(within: tuple[Path, ...]) -> Mapping[str, Reasoning]:
    return {card.hub: card.reasoning for card in all_models(within) if card.hub and card.reasoning}
