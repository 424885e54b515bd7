"""Make a config of the same architecture smaller: fewer layers, a smaller width and fewer experts.

What makes an architecture stays: its class, every kind of layer, the number of query heads per key-value
head, shared experts, latent caches, sliding windows. Every width shrinks by the factor of the hidden size,
the vocabulary too, so that the parts of the model keep their share of its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from bench.errors import UsageError
from bench.formatting import count
from bench.models.config_keys import (
    CHOSEN,
    EXPERTS,
    GROUPS,
    HIDDEN,
    LAYERS,
    LEADING,
    NESTED,
    PATTERNS,
    PERIODS,
    PLACES,
    first,
)
from bench.models.narrow import dividing, narrower

ALLOWED = {"layers": range(1, 1_001), "hidden": range(32, 65_537, 16), "experts": range(2, 4_097)}


@dataclass(frozen=True)
class Size:
    """The size asked for; None leaves what the model has."""

    layers: int | None = None
    hidden: int | None = None
    experts: int | None = None

    def __str__(self) -> str:
        said = (
            "" if self.layers is None else count(self.layers, "layer"),
            "" if self.hidden is None else f"hidden {self.hidden}",
            "" if self.experts is None else count(self.experts, "expert"),
        )
        return ", ".join(part for part in said if part)


def why_not(config: Mapping[str, Any], key: str, value: object) -> str | None:
    """Return why ``layers``, ``hidden`` or ``experts`` of a config cannot be ``value``; None if it can."""
    allowed = ALLOWED[key]
    if type(value) is not int or value not in allowed:
        kind = "whole number" if allowed.step == 1 else f"multiple of {allowed.step}"
        return f"must be a {kind} from {allowed[0]} to {allowed[-1]}, not {value!r:.60}"
    if key != "experts":
        return None
    mixture = _mixture(config)
    held = first(mixture, EXPERTS)
    if held is None or mixture[held] < 2:
        return "this model has no experts: every token uses all of it"
    chosen = mixture.get(first(mixture, CHOSEN) or "", 1)
    if value < chosen:
        return f"must be at least {chosen}, since each token goes through {chosen} experts, not {value}"
    return None


def shrunk(config: Mapping[str, Any], size: Size) -> Mapping[str, Any]:
    """Return a config of the same architecture with the size asked for.

    Raises UsageError for a size that cannot be, such as any number of experts in a model that has none.
    """
    for key, value in vars(size).items():
        if value is not None and (reason := why_not(config, key, value)):
            raise UsageError(f"{key} {reason}")
    found = deepcopy(dict(config))
    if size.experts is not None:
        _fewer_experts(_mixture(found), size.experts)
    for part in (found, *(inner for key in NESTED if isinstance(inner := found.get(key), dict))):
        if size.layers is not None:
            _fewer_layers(part, size.layers)
        if size.hidden is not None:
            narrower(part, size.hidden)
    _smaller_encoders(found, size, _width(config), _width(found))
    return found


def _width(config: Mapping[str, Any]) -> int:
    parts = (config, *(inner for key in NESTED if isinstance(inner := config.get(key), dict)))
    return next((part[key] for part in parts if (key := first(part, HIDDEN))), 1)


def _smaller_encoders(config: dict[str, Any], size: Size, before: int, after: int) -> None:
    """Shrink the parts for pictures and sounds as well, by the same factor."""
    for key, part in config.items():
        if key in NESTED or not isinstance(part, dict) or not first(part, HIDDEN):
            continue
        layers = first(part, LAYERS)
        if size.layers is not None and layers:
            _fewer_layers(part, min(size.layers, part[layers]))
        if size.hidden is not None:
            inner = part[first(part, HIDDEN) or ""]
            for name in ("out_hidden_size", "output_hidden_size", "projection_dim"):
                if part.get(name) == before:
                    part[name] = after
            narrower(part, max(ALLOWED["hidden"][0], round(inner * after / before / 16) * 16))


def _mixture(config: Mapping[str, Any]) -> Any:
    """Return the part of a config that has the number of experts."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) and first(config, EXPERTS) is None else config


def _fewer_layers(config: dict[str, Any], layers: int) -> None:
    """Set the number of layers, and keep each kind of layer where there is room for it."""
    key = first(config, LAYERS)
    if key is None:
        return
    before = config[key]
    for name in LAYERS:
        if type(own := config.get(name)) is int:  # another number counts pairs of layers, or an encoder's
            config[name] = layers if own == before else max(1, min(layers, own * layers // before))
    _fewer_in_lists(config, before, layers)
    for period, offset in PERIODS.items():
        if isinstance(config.get(period), int) and config[period] > layers:
            config[period] = layers
        if isinstance(config.get(offset), int) and isinstance(config.get(period), int):
            config[offset] %= max(config[period], 1)
    for name in LEADING:
        if isinstance(config.get(name), int) and config[name] > 0:
            config[name] = min(config[name], max(1, layers // 4), layers - 1)
    for name in ("num_kv_shared_layers", "num_nextn_predict_layers"):
        if isinstance(config.get(name), int):
            config[name] = config[name] * layers // before
    if isinstance(stack := config.get("num_layers_per_stack"), int):  # run in cycles, and counted so
        config["num_layers_per_stack"] = max(1, stack * layers // before)
        config[key] = config["num_layers_per_stack"] * (before // stack)
    if isinstance(config.get("moe_layer_end_index"), int):
        config["moe_layer_end_index"] = layers - 1
    for name in PLACES:
        if isinstance(config.get(name), list) and config[name]:
            config[name] = [place for place in config[name] if place < layers] or [layers - 1]


def _fewer_in_lists(config: dict[str, Any], before: int, layers: int) -> None:
    """Shorten everything that has an entry for each layer, text included, by the same choice of layers."""
    names = [
        name
        for name, value in config.items()
        if (isinstance(value, list) or name in PATTERNS) and value and len(value) == before > 1
    ]
    chosen = _layers_of_each_kind(
        [tuple(map(str, one)) for one in zip(*(config[n] for n in names), strict=True)], layers
    )
    for name in names:
        value = config[name]
        taken = [value[place] for place in chosen]
        config[name] = "".join(taken) if isinstance(value, str) else taken
    if isinstance(apart := config.get("per_layer_config"), dict):
        by_place = {int(place): what for place, what in apart.items()}
        chosen = chosen or [place % before for place in range(layers)]
        config["per_layer_config"] = {new: by_place[old] for new, old in enumerate(chosen) if old in by_place}


def _layers_of_each_kind(kinds: Sequence[object], layers: int) -> list[int]:
    """Return the places of ``layers`` layers: the first ones, but no kind that there is may be missing.

    If there are more layers than before, the pattern begins again.
    """
    if not kinds:
        return []
    chosen = [place % len(kinds) for place in range(layers)]
    for kind in dict.fromkeys(kinds):
        have = [kinds[place] for place in chosen]
        if kind in have:
            continue
        spare = next((n for n in reversed(range(layers)) if have.count(have[n]) > 1), None)
        if spare is None:
            break
        chosen[spare] = kinds.index(kind)
    return sorted(chosen) if layers <= len(kinds) else chosen


def _fewer_experts(config: dict[str, Any], experts: int) -> None:
    """Set the number of routed experts, in groups that still hold enough of them for one token."""
    for name in EXPERTS:
        if type(config.get(name)) is int and config[name] > 1:
            config[name] = experts
    for name in GROUPS:
        before = config.get(name)
        if type(before) is int and before > 1:
            groups = config[name] = dividing(experts, min(before, experts // 2))
            used, chosen = config.get("topk_group"), config.get(first(config, CHOSEN) or "", 1)
            if type(used) is int:  # groups of which a token uses experts
                config["topk_group"] = max(1, used * groups // before, -(-chosen * groups // experts))
