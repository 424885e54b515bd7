"""Compute the facts of a model card from its transformers config: parameters, active parameters, KV cache.

Parameters are counted in the class itself, built on torch's meta device, where weights have shapes and no
memory. The KV cache is arithmetic on the config and needs no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from bench.models.architecture import CACHE_BYTES

Config = Mapping[str, JsonValue]
EXPERTS = ".experts."


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
    return isinstance(names, list) and str(names[0]).endswith("ForCausalLM")


def experts_of(config: Config) -> tuple[int, int]:
    """Return (routed experts, experts for one token); (0, 0) for a dense model.

    The keys are those of the configs of DeepSeek-V3, Qwen3-MoE and gpt-oss.
    """
    named = (number(config, key) for key in ("n_routed_experts", "num_experts", "num_local_experts"))
    experts = next(filter(None, named), 0)
    return (experts, number(config, "num_experts_per_tok")) if experts else (0, 0)


def head_dim(config: Config) -> int:
    """Return the size of one attention head: stated, or the hidden size shared out among the heads.

    With latent attention it is that of a query, whose parts with and without position are concatenated.
    """
    latent = number(config, "qk_nope_head_dim") + number(config, "qk_rope_head_dim")
    shared = number(config, "hidden_size") // number(config, "num_attention_heads")
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
    """Return a whole number of the config; 0 if it is absent or null."""
    value = config.get(key)
    return value if isinstance(value, int) else 0
