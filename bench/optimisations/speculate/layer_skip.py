"""Draft with the model's own first layers, followed by its final norm and head (self-speculation).

Source: Elhoushi et al. 2024, arXiv 2404.16710 (LayerSkip), and Zhang et al. 2023, arXiv 2309.08168. No
weights are added. A model that was not trained to leave early is rarely right so, and then this costs time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check
from bench.errors import Unsupported
from bench.optimisations.shared import classes, decoder
from bench.optimisations.shared.drafting import ModelDrafter, drafts

REQUIRES = ("torch",)
DECODING = True


@dataclass(frozen=True)
class Params:
    """``layers`` is how many of the first layers draft, half of them if it is absent; ``tokens`` is the
    number of tokens of a draft."""

    layers: int | None = None
    tokens: int = 4

    def __post_init__(self) -> None:
        if self.layers is not None and self.layers < 1:
            raise ValueError("layers must be at least 1")
        if not 1 <= self.tokens <= 64:
            raise ValueError("tokens must be 1 to 64")


def refuse(params: Params, architecture: Mapping[str, Any]) -> str | None:
    """Return why the settings do not fit a model of this shape, with the nearest that do, or None."""
    layers = architecture["layers"]
    if params.layers is not None and params.layers >= layers:
        return f"layers {params.layers}: the model has {layers}; the nearest is {layers - 1}"
    return None


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_no_drafts(config) or classes.why_no_first_layers(config, params.layers)


def apply(model: Any, params: Params) -> Changed:
    """Make a second view of the model with fewer layers; both share all their weights.

    Raises Unsupported if the settings do not fit the model, or if its first layers do not run alone.
    """
    layers = decoder.blocks(model)
    if reason := refuse(params, {"layers": len(layers)}):
        raise Unsupported(reason)
    count = params.layers or max(1, len(layers) // 2)
    with decoder.fewer_layers(model):
        drafter = ModelDrafter(decoder.first_layers(model, count), params.tokens, own_weights=False)
        drafter.begin()
        drafter.propose([0, 0, 0], 2)  # as it will: a class may need all of its layers
    return Changed(model, drafter=drafter)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that tokens were drafted."""
    return drafts(after)
