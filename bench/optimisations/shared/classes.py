"""Know from a ``config.json`` on which classes of transformers a scheme cannot work.

A class decides what it keeps from token to token, and of which layers its blocks are made. The sets are
those of transformers 5.17: ``scripts/architecture-schemes`` tries every class that is measured, and a test
compares its table with them. A class that is in no set is not judged here. The scheme itself looks at every
model after loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.models.json_files import text_block
from bench.optimisations.shared.decoder import ATTENTION, MLP

Config = Mapping[str, Any]

# Their blocks are not in ``model.layers``.
OTHER_PLACE = frozenset({
    "bart", "bert", "bert-generation", "bigbird_pegasus", "biogpt", "blenderbot-small", "bloom",
    "camembert", "codegen", "ctrl", "data2vec-text", "electra", "ernie", "falcon", "falcon_mamba",
    "fuyu", "gemma3", "gemma4", "gemma4_unified", "got_ocr2", "gpt-sw3", "gpt2", "gpt_bigcode",
    "gpt_neo", "gpt_neox", "gpt_neox_japanese", "gptj", "hrm_text", "mamba", "mamba2", "marian",
    "mbart", "mpt", "mvp", "opt", "pegasus", "plbart", "roberta", "roberta-prelayernorm",
    "roc_bert", "rwkv", "trocr", "whisper", "xlm-roberta", "xlm-roberta-xl", "xlstm", "xmod",
})  # fmt: skip
# Their blocks have fused layers, experts, or other names.
OTHER_BLOCKS = frozenset({
    "afmoe", "apertus", "arcee", "aria_text", "axk1", "axk2", "bamba", "cohere2_moe", "deepseek_v2",
    "deepseek_v3", "deepseek_v32", "deepseek_v4", "dots1", "ernie4_5_moe", "exaone_moe",
    "falcon_h1", "flex_olmo", "gemma3n_text", "glm", "glm4", "glm4_moe", "glm4_moe_lite",
    "glm_moe_dsa", "gpt_oss", "granitemoe", "granitemoe_swa", "granitemoehybrid",
    "granitemoeshared", "hunyuan_v1_moe", "hy_v3", "hy_v4", "inkling_text", "jais2", "jamba",
    "jetmoe", "kimi_linear", "laguna", "lfm2", "lfm2_moe", "llama4", "llama4_text", "longcat_flash",
    "mellum", "mimo_v2_flash", "minicpm3", "minimax", "minimax_m2", "minimax_m3_vl_text", "mixtral",
    "modernbert-decoder", "moshi", "nanochat", "nemotron", "nemotron_h", "olmo_hybrid", "olmoe",
    "persimmon", "phi", "phi3", "phi4_multimodal", "phimoe", "qwen2_moe", "qwen3_5", "qwen3_5_moe",
    "qwen3_5_moe_text", "qwen3_5_text", "qwen3_moe", "qwen3_next", "recurrent_gemma", "solar_open",
    "starcoder2", "xglm", "youtu", "zamba", "zamba2", "zaya",
})  # fmt: skip
# They keep a state that every token changes, from which none can be taken out again.
STATES = frozenset({
    "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "mamba",
    "mamba2", "minimax", "nemotron_h", "olmo_hybrid", "qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text",
    "qwen3_5_text", "qwen3_next", "rwkv", "xlstm", "zamba", "zamba2", "zaya",
})  # fmt: skip
# They keep an index beside keys and values, or a convolution.
OTHER_CACHES = frozenset({
    "axk2", "deepseek_v32", "deepseek_v4", "glm_moe_dsa", "hy_v4", "inkling_text", "lfm2_moe",
})  # fmt: skip
WINDOWS = ("sliding_attention", "chunked_attention")
# Some of their layers have the window that their config names; others need another key to have one.
WINDOWED = frozenset({
    "afmoe", "cohere2", "cohere2_moe", "exaone4", "exaone_moe", "gemma2", "gemma3", "gemma3_text", "gpt_oss",
    "granitemoe_swa", "ministral", "mistral", "mixtral", "olmo3", "phi3", "phimoe", "starcoder2",
})  # fmt: skip
KEY_SIZES, VALUE_SIZES = ("qk_nope_head_dim", "qk_rope_head_dim"), ("v_head_dim",)  # latent attention
# Each layer has an input of its own, made for all layers at once, unless their config says it has no size.
LAYER_INPUTS = frozenset({"gemma3n_text", "gemma4_text"})
# What keeps the first layers of a class from running by themselves.
NOT_ALONE: Mapping[str, str] = {
    "longcat_flash": "keeps two entries of the cache for each layer",
    "recurrent_gemma": "keeps what it has read in its layers, and not in a cache",
}
SEES_ALL_TOKENS = frozenset({"attention", "full_attention", "sliding_attention", "chunked_attention"})


def why_no_blocks(config: Config) -> str | None:
    """Return why a scheme that takes whole blocks does not find those of a model; None if it does."""
    if config.get("model_type") not in OTHER_PLACE:
        return None
    return f"known are decoders with model.layers, not {_class(config)}"


def why_not_like_llama(config: Config) -> str | None:
    """Return why a block does not have the seven linear layers of a Llama block; None if it has."""
    if config.get("model_type") not in OTHER_BLOCKS:
        return why_no_blocks(config)
    known = ", ".join((*ATTENTION, *MLP))
    return f"width pruning knows blocks with {known} only, and those of {_class(config)} have others"


def why_no_other_cache(config: Config) -> str | None:
    """Return why no cache that packs keys and values can stand for that of a model; None if it can."""
    if config.get("model_type") not in STATES | OTHER_CACHES or _attends_only(config):
        return None
    return f"the cache of {_class(config)} has more than keys and values, and only those are packed"


def why_no_plain_cache(config: Config) -> str | None:
    """Return why the cache of a model does not hold plain keys and values of every token; None if it does, or
    if only the loaded model shows it.

    Layers with a window keep the last tokens only. Latent attention has other numbers of keys than of values.
    """
    block = text_block(config)
    if why := why_no_blocks(config):
        return why
    if config.get("model_type") in STATES | OTHER_CACHES and not _attends_only(config):
        return f"the cache of {_class(config)} has more than keys and values, and only those can be sent"
    if _has_windows(block):
        return f"some layers of {_class(config)} keep a window of tokens only, and all are sent"
    keys, values = (_sum(block, names) for names in (KEY_SIZES, VALUE_SIZES))
    if keys and values and keys != values:
        sizes = f"{keys} numbers of a key and {values} of a value"
        return f"the cache of {_class(config)} holds {sizes}, and only as many of both can be sent"
    return None


def _has_windows(block: Config) -> bool:
    kinds = block.get("layer_types")
    if isinstance(kinds, list):
        return any(kind in WINDOWS for kind in kinds)
    return block.get("model_type") in WINDOWED and type(block.get("sliding_window")) is int


def _sum(block: Config, names: tuple[str, ...]) -> int:
    """Return the sum of some sizes; 0 if the config does not have them all."""
    sizes = [block.get(name) for name in names]
    return sum(size for size in sizes if type(size) is int) if all(type(s) is int for s in sizes) else 0


def why_no_drafts(config: Config) -> str | None:
    """Return why drafts cannot be taken back from what a model keeps; None if they can."""
    if config.get("model_type") not in STATES or _attends_only(config):
        return None
    return f"no token can be taken out of the cache of {_class(config)}, so nothing can be drafted"


def why_no_fewer_layers(config: Config) -> str | None:
    """Return why none of a model's layers can be left out; None if they can, as far as it is known."""
    if config.get("model_type") not in LAYER_INPUTS or not config.get("hidden_size_per_layer_input", True):
        return why_no_blocks(config)
    return f"each layer of {_class(config)} has an input of its own, so none can be left out"


def why_no_first_layers(config: Config, count: int | None = None) -> str | None:
    """Return why the first ``count`` layers of a model, half of them if it is None, do not run by themselves;
    None if they do, as far as it is known."""
    if reason := why_no_fewer_layers(config):
        return reason
    if why := NOT_ALONE.get(str(config.get("model_type"))):
        return f"{_class(config)} {why}, so its first layers do not run by themselves"
    kinds = _kinds_of_layers(config)
    first = kinds[: max(1, len(kinds) // 2) if count is None else count]
    if not first or any("attention" in kind for kind in first):
        return None
    return (
        f"the first {len(first)} layers of {_class(config)} have no attention, and do not run by themselves"
    )


def _kinds_of_layers(config: Config) -> list[str]:
    """Return the kind of each layer of a hybrid class; nothing if the config does not list them."""
    listed = config.get("layer_types")
    return [str(one) for one in listed] if isinstance(listed, list) else []


def _attends_only(config: Config) -> bool:
    """Return whether a model of a hybrid class has layers with attention alone, as some Granite 4 do."""
    inner = config.get("text_config")
    for block in (config, inner if isinstance(inner, Mapping) else {}):
        for key in ("layer_types", "layers_block_type"):
            kinds = block.get(key)
            if isinstance(kinds, list) and kinds:
                return all(isinstance(one, str) and one in SEES_ALL_TOKENS for one in kinds)
    return False


def _class(config: Config) -> str:
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else config.get("model_type")
    return str(first)[:60]
