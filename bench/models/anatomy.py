"""Compute the facts of a model card from its transformers config: parameters, active parameters, KV cache.

Parameters are counted in the class itself, built on torch's meta device, where weights have shapes and no
memory. The KV cache is arithmetic on the config and needs no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from bench.models import config_keys
from bench.models.architecture import CACHE_BYTES, Architecture

Config = Mapping[str, JsonValue]
EXPERTS = ".experts."
NAMES = {
    "num_hidden_layers": config_keys.LAYERS,
    "hidden_size": config_keys.HIDDEN,
    "num_attention_heads": config_keys.HEADS,
}


def parameter_counts(config: Config) -> tuple[int, int]:
    """Return (all parameters, parameters used for one token) of the class that a config describes.

    A token goes through k of E experts, so of every weight of the experts k/E are used. Shared experts, the
    router and the embeddings count in full. Tied weights count once.
    """
    total = routed = 0
    for name, parameter in _meta_model(config).named_parameters():
        total += parameter.numel()
        routed += parameter.numel() if EXPERTS in name else 0
    experts, chosen = experts_of(config)
    return total, total - routed + (routed * chosen // experts if experts else 0)


def _meta_model(config: Config) -> Any:
    """Build the model class of a config without memory; an encoder has no head."""
    import torch
    import transformers

    values = deepcopy(dict(config))  # transformers adds to the nested parts
    built = transformers.AutoConfig.for_model(str(values.pop("model_type")), **values)
    auto = transformers.AutoModelForCausalLM if _decodes(config) else transformers.AutoModel
    with torch.device("meta"):
        return auto.from_config(built)


def _decodes(config: Config) -> bool:
    names = config.get("architectures")
    return isinstance(names, list) and bool(names) and str(names[0]).endswith("ForCausalLM")


def experts_of(config: Config) -> tuple[int, int]:
    """Return (routed experts, experts for one token); (0, 0) for a dense model.

    The keys are those of the configs of DeepSeek-V3, Qwen3-MoE and gpt-oss.
    """
    named = (number(config, key) for key in ("n_routed_experts", "num_experts", "num_local_experts"))
    experts = next(filter(None, named), 0)
    return (experts, number(config, "num_experts_per_tok")) if experts else (0, 0)


def matrix_counts(config: Config) -> tuple[int, int]:
    """Return (weights in all matrices, weights used for one token), by arithmetic on the config alone.

    It counts the matrices of embeddings, attention, dense layers, experts and routers of the families that
    the cards have, but no norms and biases: up to 1 % less than ``parameter_counts``, without an engine.
    """
    hidden, layers = number(config, "hidden_size"), number(config, "num_hidden_layers")
    tables = 1 if config.get("tie_word_embeddings") is True else 2
    embeddings = tables * number(config, "vocab_size") * hidden
    dense = 3 * hidden * number(config, "intermediate_size")
    attention = _attention_weights(config)
    experts, chosen = experts_of(config)
    if not experts:
        return (whole := embeddings + layers * (attention + dense)), whole
    expert = 3 * hidden * (number(config, "moe_intermediate_size") or number(config, "intermediate_size"))
    always = experts * hidden + number(config, "n_shared_experts") * expert  # the router too
    first = min(number(config, "first_k_dense_replace"), layers)
    rest = embeddings + layers * attention + first * dense + (layers - first) * always
    routed = (layers - first) * expert
    return rest + experts * routed, rest + chosen * routed


def _attention_weights(config: Config) -> int:
    """Return the weights of one layer's attention: query, key, value and output.

    Latent attention has factors instead (DeepSeek-V2 technical report, section 2.1).
    """
    hidden, heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    if latent := number(config, "kv_lora_rank"):
        value, plain = number(config, "v_head_dim"), number(config, "qk_nope_head_dim")
        rank = number(config, "q_lora_rank")
        query = rank * (hidden + heads * head_dim(config)) if rank else hidden * heads * head_dim(config)
        keys = hidden * (latent + number(config, "qk_rope_head_dim")) + latent * heads * (plain + value)
        return query + keys + heads * value * hidden
    kv_heads = number(config, "num_key_value_heads") or heads
    return 2 * hidden * head_dim(config) * (heads + kv_heads)


def resized(facts: Architecture, before: Config, after: Config) -> Architecture:
    """Return the facts of the config ``after``, if ``facts`` are those of ``before``.

    The counts of parameters are scaled by ``matrix_counts``, so they are estimates. What a config does not
    say stays as it was.
    """
    experts, chosen = experts_of(after)
    changed: dict[str, Any] = {
        "layers": number(after, "num_hidden_layers"),
        "hidden_size": number(after, "hidden_size"),
        "attention_heads": number(after, "num_attention_heads"),
        "kv_heads": number(after, "num_key_value_heads") or number(after, "num_attention_heads"),
        "head_dim": head_dim(after),
        "value_head_dim": number(after, "v_head_dim"),
        "intermediate_size": number(after, "intermediate_size"),
        "vocabulary": number(after, "vocab_size"),
        "experts": experts,
        "experts_per_token": chosen,
    }
    pairs = zip(matrix_counts(before), matrix_counts(after), strict=True)
    for key, (then, now) in zip(("parameters", "active_parameters"), pairs, strict=True):
        if (whole := getattr(facts, key)) is not None:
            changed[key] = whole * now // max(then, 1)
    known = {key: value for key, value in changed.items() if value}
    cache: dict[str, int] = {"kv_window_bytes": kv_window_bytes(after)}
    if facts.kv_bytes_per_token is not None:
        cache["kv_bytes_per_token"] = kv_bytes_per_token(after)  # 0 if every layer has a window
    return facts.model_copy(update={**known, **cache})


def head_dim(config: Config) -> int:
    """Return the size of one attention head: stated, or the hidden size shared out among the heads.

    With latent attention it is that of a query, whose parts with and without position are concatenated.
    """
    latent = number(config, "qk_nope_head_dim") + number(config, "qk_rope_head_dim")
    shared = number(config, "hidden_size") // max(number(config, "num_attention_heads"), 1)
    return latent or number(config, "head_dim") or shared


def window_layers(config: Config) -> int:
    """Return how many layers attend to a window only that is shorter than the context.

    ``layer_types`` names the kind of each layer. Gemma 3 makes every ``sliding_window_pattern``-th layer
    full instead (Gemma 3 technical report, section 2). gpt-oss begins with a window and takes turns (gpt-oss
    model card, section 2.2).
    """
    if not sliding_window(config):
        return 0
    layers, kinds = number(config, "num_hidden_layers"), config.get("layer_types")
    if isinstance(kinds, list):
        return kinds.count("sliding_attention")
    pattern = number(config, "sliding_window_pattern")
    return layers - layers // pattern if pattern else layers


def sliding_window(config: Config) -> int:
    """Return the window in tokens; 0 if there is none, if it is switched off, or if it spans the context."""
    window = number(config, "sliding_window")
    off = config.get("use_sliding_window", True) is False
    return 0 if off or window >= number(config, "max_position_embeddings") else window


def layer_token_bytes(config: Config) -> int:
    """Return the bytes that one layer caches for one token at 16 bits.

    Plain and grouped-query attention keep a key and a value for each KV head (Ainslie et al. 2023, section
    2.2). Latent attention keeps one compressed vector and one shared key with position: ``kv_lora_rank`` +
    ``qk_rope_head_dim`` values (DeepSeek-V2 technical report, section 2.1.4, table 1). Encoders keep nothing.
    """
    if not _decodes(config):
        return 0
    if latent := number(config, "kv_lora_rank"):
        return (latent + number(config, "qk_rope_head_dim")) * CACHE_BYTES
    heads = number(config, "num_key_value_heads") or number(config, "num_attention_heads")
    return 2 * heads * head_dim(config) * CACHE_BYTES


def kv_bytes_per_token(config: Config) -> int:
    """Return the bytes that one more token adds to the cache at 16 bits once all windows are full.

    Only layers that see the whole text still grow.
    """
    growing = number(config, "num_hidden_layers") - window_layers(config)
    return growing * layer_token_bytes(config)


def kv_window_bytes(config: Config) -> int:
    """Return the bytes at 16 bits of the layers with a window, once it is full: a window of tokens each."""
    return window_layers(config) * sliding_window(config) * layer_token_bytes(config)


def number(config: Config, key: str) -> int:
    """Return a whole number of the config, under any of its names; 0 if it is absent or null."""
    values = (config.get(name) for name in NAMES.get(key, (key,)))
    return next((value for value in values if isinstance(value, int)), 0)
