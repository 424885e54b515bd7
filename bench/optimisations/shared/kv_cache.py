"""Give layers another KV cache, and check that it takes fewer bytes.

Layers that see the whole text and layers with a sliding window are told apart, as in transformers' own cache:
a window that is full holds no more tokens, whoever packs it. A cache that kept all of them would hold more
than the plain one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check, check
from bench.errors import Unsupported
from bench.models.json_files import text_block

NOTE = "the cache is packed and unpacked in every step; what it saves is memory at long contexts"
MOST_SIZE = 131_072
# Classes that share their width out among the heads where a config names no head_dim (transformers 5.17).
DERIVED_HEADS = frozenset({
    "arcee", "bitnet", "cohere", "granite", "granitemoe", "llama", "mistral", "mixtral", "olmo", "olmo2",
    "olmoe", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "smollm3", "stablelm", "starcoder2",
})  # fmt: skip
PLAIN, IN_WINDOW = "DynamicLayer", "DynamicSlidingWindowLayer"  # the kinds of layers of transformers' cache


def check_sizes(group_size: int, residual_length: int) -> None:
    """Raise ValueError for sizes that no cache can have."""
    for name, size in (("group_size", group_size), ("residual_length", residual_length)):
        if not 1 <= size <= MOST_SIZE:
            raise ValueError(f"{name} must be 1 to {MOST_SIZE}, not {size}")


def use_layers(
    model: Any, make_layer: Callable[[], Any], in_window: Callable[[int], Any] | None = None
) -> Changed:
    """Return the model with a cache in which ``make_layer()`` holds the keys and values of each layer.

    A layer with a sliding window of N tokens is held by ``in_window(N)``; without that function it keeps the
    plain cache of its window. Raises Unsupported for a model that keeps something else than keys and values,
    and if no layer would get another cache.
    """
    from transformers import Cache

    _must_be_known(model, kinds_of(model), packs_windows=in_window is not None)

    def held(plain: Any) -> Any:
        if _kind(model, plain) == PLAIN:
            return make_layer()
        return plain if in_window is None else in_window(plain.sliding_window)

    return Changed(model, lambda _sequences, _tokens: Cache(layers=[held(one) for one in _plain(model)]))


def kinds_of(model: Any) -> Mapping[str, int]:
    """Return how many layers each class of transformers' own cache holds for a model."""
    return Counter(_kind(model, one) for one in _plain(model))


def _kind(model: Any, layer: Any) -> str:
    """Return the class of a layer. One with a window that spans the context holds whatever a plain one does;
    Phi-4-mini has such windows."""
    context = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    spans = context is not None and getattr(layer, "sliding_window", 0) >= context
    name = type(layer).__name__
    return PLAIN if name == IN_WINDOW and spans else name


def _plain(model: Any) -> list[Any]:
    from transformers import DynamicCache

    return list(DynamicCache(config=model.config.get_text_config(decoder=True)).layers)


def _must_be_known(model: Any, kinds: Mapping[str, int], *, packs_windows: bool) -> None:
    name = type(model).__name__
    if not getattr(model, "_supports_default_dynamic_cache", lambda: True)():
        raise Unsupported(f"{name} makes a cache of its own, which no other can stand for")
    if others := sorted(set(kinds) - {PLAIN, IN_WINDOW}):
        raise Unsupported(f"the cache of {name} has {others[0]}, and only keys and values are packed")
    if not packs_windows and PLAIN not in kinds:
        raise Unsupported(
            f"every layer of {name} has a sliding window, and this scheme packs the cache of layers that see "
            "the whole text: kv-float8 packs windows too"
        )


def check_group(model: Any, size: int) -> None:
    """Raise Unsupported if groups of ``size`` numbers do not fill what a token has in a layer."""
    if reason := _why_not_filled(_numbers(model.config.get_text_config()), size):
        raise Unsupported(reason)


def why_no_group(config: Mapping[str, Any], size: int) -> str | None:
    """Return what ``check_group`` will say of the model of a ``config.json``. None if it will say nothing, or
    if the file leaves a size to the class."""
    sizes = text_block(config)
    derived = ("hidden_size", "num_attention_heads") if sizes.get("model_type") in DERIVED_HEADS else ()
    latent, heads = ("kv_lora_rank", "qk_rope_head_dim"), ("num_key_value_heads", "head_dim")
    for names in (latent, heads, ("num_key_value_heads", *derived) if derived else ()):
        if names and all(type(sizes.get(name)) is int and sizes[name] > 0 for name in names):
            return _why_not_filled(_numbers(SimpleNamespace(**{name: sizes[name] for name in names})), size)
    return None


def _why_not_filled(several: tuple[int, ...], size: int) -> str | None:
    for numbers in several:
        if numbers % size:
            return f"groups of {size} numbers do not fill the {numbers} that a token has in a layer"
    return None


def _numbers(config: Any) -> tuple[int, ...]:
    """Return how many numbers a token has in each tensor of a layer: as many in the keys as in the values.

    With latent attention, one tensor has the latents and one the shared keys with position (DeepSeek-V2
    technical report, section 2.1.4).
    """
    if getattr(config, "kv_lora_rank", None):
        return config.kv_lora_rank, config.qk_rope_head_dim
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    length = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return (heads * length,)


def smaller_cache(
    before: Census, after: Census, bits: float, *layers: str, windows_stay: bool = False
) -> list[Check]:
    """Check the classes of the cache layers, and that a token takes fewer bytes than before.

    Packed layers are of one of the classes ``layers``, and take less than (``bits`` + 4) / 16 of the bytes
    before. The 4 leaves room for scales, zero points and the few tokens that are not packed yet. With
    ``windows_stay``, layers with a sliding window may be as they were.
    """
    old, new = before.decoding, after.decoding
    if old is None or new is None:
        return [check("a request was decoded", "no", False, "yes")]
    if old.cache_bytes_a_token is None or new.cache_bytes_a_token is None:
        return [check("bytes of cache a token", "not counted by this engine", False, "counted")]
    packed = sum(new.cache.get(name, 0) for name in layers)
    whole = sum(new.cache.values())
    most = 1 - packed / max(whole, 1) * (1 - (bits + 4) / 16)
    allowed = {*layers, IN_WINDOW} if windows_stay else {*layers}
    known = packed > 0 and set(new.cache) <= allowed
    return [
        check("keys and values held by", new.held_by, known, " or ".join(layers)),
        check(
            "bytes of cache a token",
            f"{new.cache_bytes_a_token:.0f}",
            new.cache_bytes_a_token < most * old.cache_bytes_a_token,
            f"< {old.cache_bytes_a_token:.0f} · {most:.2f}",
        ),
    ]
