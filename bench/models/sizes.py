"""Check that the sizes in a model's config fit its weights.

A loader makes modules of the sizes in a config before it looks at the weights: ``hidden_size: 500000`` beside
100 kB of weights took 2.5 GB. What is compared here are products of sizes that every decoder has as matrices,
so they are smaller than the number of its weights.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# The keys of a size, in the words of different architectures; the first one that is there counts.
HIDDEN = ("hidden_size", "n_embd", "d_model", "embedding_length")
LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "block_count")
HEADS = ("num_attention_heads", "n_head", "attention.head_count")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "attention.head_count_kv")
HEAD_SIZE = ("head_dim", "attention.key_length")
INNER = ("intermediate_size", "n_inner", "ffn_dim", "d_ff", "feed_forward_length")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "expert_count")
EXPERT_INNER = ("moe_intermediate_size", "expert_feed_forward_length")
POSITIONS = ("n_positions",)
# How wide and how deep a model is, in the words of every decoder that transformers 5.17 saves, and of older
# files; a test holds them against its classes.
WIDTHS = (*HIDDEN, "n_embed", "emb_dim", "dim", "backbone_hidden_size")
DEPTHS = (
    *LAYERS, "n_layers", "encoder_layers", "decoder_layers", "num_decoder_layers", "layer_types",
    "block_types", "layers_block_type",
)  # fmt: skip
# What else is a number of rows or columns of some matrix, with ``hidden_size`` of the others at most.
_A_SIZE = re.compile(r"(^|_)(size|dim|rank|heads|experts|width|channels)$|^vocab_size")
_INDEX = re.compile(r"(?:^|\.)([0-9]{1,9})\.")
BITS_MIN = 2  # no checkpoint packs a weight into fewer
ALWAYS_WEIGHTS = 32_000_000  # so many are made, whatever a config says: 128 MB, and room for tiny models
_MORE = re.compile(r"_config$")
MOST_DIGITS, MOST_SAID = 30, 10**300


@dataclass(frozen=True)
class Weights:
    """What weight files hold: how many weights there are at most, and how many layers their names count."""

    most: int
    layers: int

    @classmethod
    def of(cls, names: Iterable[str], most: int) -> Weights:
        """Count the layers in the names of tensors: ``model.layers.11.`` is of the twelfth."""
        found = (int(number) for name in names for number in _INDEX.findall(name))
        return cls(most, 1 + max(found, default=-1))


def misfit(config: Mapping[str, Any], weights: Weights) -> str | None:
    """Return what in a config, or in a block of it such as ``text_config``, does not fit the weights."""
    for place, block in _blocks(config):
        layers = _size(block, LAYERS)
        if layers is not None and layers[1] > max(weights.layers, 1):
            given = str(layers[1])[:MOST_DIGITS]
            return f"{place}{layers[0]} is {given}, and the weights are of {weights.layers} layers"
        for keys, product in _matrices(block):
            if product > max(weights.most, ALWAYS_WEIGHTS):
                named = " and ".join(f"{place}{key} {str(value)[:MOST_DIGITS]}" for key, value in keys)
                made = f"{float(min(product, MOST_SAID)):.3g}"  # JSON has whole numbers that no float holds
                return f"{named} make matrices of {made} weights, and the files hold {weights.most}"
    return None


def unnamed(config: Mapping[str, Any]) -> str | None:
    """Return the size that neither a config nor a block of it names. A loader would take the default of the
    class for it, before it looks at the weights: a Llama whose config names no sizes has 27 GB."""
    for keys in (WIDTHS, DEPTHS):
        if not _names(config, keys):
            return keys[0]
    return None


def _names(config: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    if any(type(config.get(key)) in (int, list) for key in keys):
        return True
    return any(_names(block, keys) for block in config.values() if isinstance(block, Mapping))


def _blocks(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", config
    for key, value in config.items():
        if isinstance(value, Mapping) and _MORE.search(str(key)) and key != "quantization_config":
            yield f"{key}.", value


def _size(block: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, int] | None:
    return next(((key, block[key]) for key in keys if type(block.get(key)) is int), None)


def _matrices(block: Mapping[str, Any]) -> Iterator[tuple[list[tuple[str, int]], int]]:
    """Yield (keys with their values, weights of such matrices in all layers)."""
    hidden = _size(block, HIDDEN)
    if hidden is None:
        return
    layers, heads, inner = (_size(block, keys) for keys in (LAYERS, HEADS, INNER))
    head = _size(block, HEAD_SIZE) or ("hidden_size", hidden[1] // max(heads[1], 1) if heads else hidden[1])
    kv_heads = _size(block, KV_HEADS)
    several = [
        [layers, hidden, *((heads, head) if heads else (hidden,))],
        [layers, hidden, *((kv_heads, head) if kv_heads else ())],
        [layers, hidden, inner],
        [layers, hidden, _size(block, EXPERTS), _size(block, EXPERT_INNER) or inner],
        [hidden, _size(block, POSITIONS)],
    ]
    for sizes in several:
        known = [one for one in sizes if one is not None]
        yield known, math.prod(value for _key, value in known)
    for key, value in block.items():
        if type(value) is int and _A_SIZE.search(str(key)) and key != hidden[0]:
            yield [hidden, (str(key)[:60], value)], hidden[1] * value
