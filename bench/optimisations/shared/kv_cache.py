"""Give every layer another KV cache, and check that it takes fewer bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported

NOTE = "the cache is packed and unpacked in every step; what it saves is memory at long contexts"
MOST_SIZE = 131_072


def check_sizes(group_size: int, residual_length: int) -> None:
    """Raise ValueError for sizes that no cache can have."""
    for name, size in (("group_size", group_size), ("residual_length", residual_length)):
        if not 1 <= size <= MOST_SIZE:
            raise ValueError(f"{name} must be 1 to {MOST_SIZE}, not {size}")


def use_layers(model: Any, make_layer: Callable[[], Any]) -> Changed:
    """Return the model with a cache in which ``make_layer()`` holds the keys and values of each layer."""
    from transformers import Cache

    layers = model.config.get_text_config().num_hidden_layers
    return Changed(model, lambda _sequences, _tokens: Cache(layers=[make_layer() for _ in range(layers)]))


def check_group(model: Any, size: int) -> None:
    """Raise Unsupported if groups of ``size`` numbers do not fill what a token has in a layer."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    numbers = heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    if numbers % size:
        raise Unsupported(f"groups of {size} numbers do not fill the {numbers} that a token has in a layer")


def smaller_cache(before: Census, after: Census, layer: str, bits: float) -> list[Check]:
    """Check the class of the cache layers, and that a token takes fewer bytes than before.

    It must take less than (``bits`` + 4) / 16 of the bytes before. The 4 leaves room for scales, zero points
    and the few tokens that are not packed yet.
    """
    old, new = before.decoding, after.decoding
    if old is None or new is None:
        return [check("a request was decoded", "no", False, "yes")]
    if old.cache_bytes_a_token is None or new.cache_bytes_a_token is None:
        return [check("bytes of cache a token", "not counted by this engine", False, "counted")]
    share = new.cache_bytes_a_token / old.cache_bytes_a_token
    return [
        check("keys and values held by", new.cache, new.cache == layer, layer),
        check(
            "bytes of cache a token",
            f"{new.cache_bytes_a_token:.0f}",
            share < (bits + 4) / 16,
            f"< {old.cache_bytes_a_token:.0f} · {(bits + 4) / 16:.2f}",
        ),
    ]
