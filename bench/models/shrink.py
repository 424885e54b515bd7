"""The same architecture at a smaller size: a config with fewer layers, a smaller width and fewer experts.

What makes an architecture stays: its class, every kind of layer, the number of query heads per key-value
head, shared experts, latent caches, sliding windows. Every width shrinks by the factor of the hidden size,
the vocabulary too, so that the parts of the model keep their share of its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from bench.errors import UsageError
from bench.formatting import count

ALLOWED = {"layers": range(1, 1_001), "hidden": range(32, 65_537, 16), "experts": range(2, 4_097)}
LEAST_WIDTH, LEAST_VOCABULARY, LEAST_HEADS = 16, 512, 2

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model", "dim", "n_embed", "model_dim")
HEADS = ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "encoder_attention_heads")
KV_HEADS = (
    "num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads", "num_global_key_value_heads",
)  # fmt: skip
MORE_HEADS = (
    "linear_num_key_heads", "linear_num_value_heads", "mamba_n_heads", "mamba_num_heads",
    "swa_num_attention_heads", "num_query_groups", "index_n_heads", "linear_num_heads", "n_mamba_heads",
)  # fmt: skip
HEAD_DIMS = ("head_dim", "attention_head_dim")
EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "moe_top_k")
GROUPS = ("n_group", "num_expert_group")
WIDTHS = (
    "intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_dim", "n_inner",
    "moe_shared_expert_intermediate_size", "shared_intermediate_size", "mlp_intermediate_size",
    "intermediate_size_mlp", "ffn_hidden_size", "expert_ffn_hidden_size", "dense_intermediate_size",
    "q_lora_rank", "kv_lora_rank", "o_lora_rank", "decoder_ffn_dim", "encoder_ffn_dim", "mamba_d_ssm",
    "mamba_intermediate_size", "lru_width", "word_embed_proj_dim", "embedding_size", "dense_ffn_dim",
    "hidden_size_per_layer_input", "attention_hidden_size", "latent_size", "moe_latent_size",
    "expert_intermediate_size", "dim_ff", "dff", "d_inner", "feed_forward_size",
)  # fmt: skip
VOCABULARIES = ("vocab_size", "vocab_size_per_layer_input", "src_vocab_size", "n_words")
# A count of leading layers of another kind, which must leave room for the others.
LEADING = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index", "num_hash_layers")
PERIODS = {  # every so many layers there is one of another kind, and at which place
    "attn_layer_period": "attn_layer_offset",
    "expert_layer_period": "expert_layer_offset",
    "sliding_window_pattern": "", "_sliding_window_pattern": "", "full_attention_interval": "",
    "full_attn_every_n_layers": "", "no_rope_layer_interval": "", "interleave_moe_layer_step": "",
}  # fmt: skip
PLACES = ("attn_layer_indices", "full_attn_idxs", "mlp_only_layers", "moe_layers", "hybrid_layer_ids")
PATTERNS = ("hybrid_override_pattern",)  # a letter for each layer
NESTED = ("text_config", "linear_attn_config")


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
    held = _first(mixture, EXPERTS)
    if held is None or mixture[held] < 2:
        return "this model has no experts: every token uses all of it"
    chosen = mixture.get(_first(mixture, CHOSEN) or "", 1)
    if value < chosen:
        return f"must be at least {chosen}, since each token goes through {chosen} experts, not {value}"
    return None


def shrunk(config: Mapping[str, Any], size: Size) -> dict[str, Any]:
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
            _narrower(part, size.hidden)
    return found


def _mixture(config: Mapping[str, Any]) -> Any:
    """Return the part of a config that has the number of experts."""
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) and _first(config, EXPERTS) is None else config


def _first(config: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first of ``names`` that the config has as a whole number above zero."""
    return next((name for name in names if type(config.get(name)) is int and config[name] > 0), None)


def _fewer_layers(config: dict[str, Any], layers: int) -> None:
    """Set the number of layers, and keep each kind of layer where there is room for it."""
    key = _first(config, LAYERS)
    if key is None:
        return
    before = config[key]
    for name in LAYERS:
        if config.get(name) == before:
            config[name] = layers
    _fewer_in_lists(config, before, layers)
    for period, offset in PERIODS.items():
        if isinstance(config.get(period), int) and config[period] > layers:
            config[period] = layers
        if isinstance(config.get(offset), int) and isinstance(config.get(period), int):
            config[offset] %= max(config[period], 1)
    for name in LEADING:
        if isinstance(config.get(name), int) and config[name] > 0:
            config[name] = min(config[name], max(1, layers // 4))
    for name in ("num_kv_shared_layers", "num_nextn_predict_layers"):
        if isinstance(config.get(name), int):
            config[name] = config[name] * layers // before
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


def _narrower(config: dict[str, Any], hidden: int) -> None:
    """Set the hidden size, and scale every other width with it."""
    key = _first(config, HIDDEN)
    if key is None:
        return
    before = config[key]
    for name in HIDDEN:
        if config.get(name) == before:
            config[name] = hidden

    def scaled(value: int, least: int = LEAST_WIDTH) -> int:
        return hidden if value == before else max(least, round(value * hidden / before / 16) * 16)

    for name in WIDTHS:
        value = config.get(name)
        if isinstance(value, list):
            config[name] = [scaled(one) if type(one) is int and one else one for one in value]
        elif type(value) is int and value > 0:
            config[name] = scaled(value)
    for name in VOCABULARIES:
        if type(config.get(name)) is int:
            config[name] = max(LEAST_VOCABULARY, min(config[name], scaled(config[name])))
    _fewer_heads(config, before, hidden)
    _tokens_inside(config)


def _fewer_heads(config: dict[str, Any], before: int, hidden: int) -> None:
    """Scale the heads; the size of a head stays if it is not just the width shared out among the heads."""
    key = _first(config, HEADS)
    if key is None:
        return
    heads = config[key]
    shared = before // heads
    stated = any(config.get(name, shared) not in (None, shared) for name in (*HEAD_DIMS, "qk_nope_head_dim"))
    fewer = max(LEAST_HEADS, round(heads * hidden / before)) if heads > 1 else 1
    while not stated and hidden % (2 * fewer):
        fewer -= 1
    for name in HEADS:
        if config.get(name) == heads:
            config[name] = fewer
    for name in KV_HEADS:
        if isinstance(own := config.get(name), int) and own > 0:
            config[name] = _dividing(fewer, fewer * own // heads)
    for name in MORE_HEADS:
        if isinstance(own := config.get(name), int) and own > 0:
            config[name] = max(1, own * fewer // heads)
    if not stated:
        for name in HEAD_DIMS:
            if config.get(name) == shared:
                config[name] = hidden // fewer
        _smaller_rotation(config, shared, hidden // fewer)


def _smaller_rotation(config: dict[str, Any], before: int, after: int) -> None:
    """Fit the rotary embedding to another size of a head: LongRoPE has a factor for each two dimensions."""
    if isinstance(config.get("rotary_dim"), int):
        config["rotary_dim"] = min(config["rotary_dim"], after)
    for name in ("rope_scaling", "rope_parameters"):
        rope: Any = config.get(name)
        for factors in ("short_factor", "long_factor") if isinstance(rope, dict) else ():
            if isinstance(many := rope.get(factors), list) and many:
                fewer = max(1, len(many) * after // before)
                rope[factors] = [many[place * len(many) // fewer] for place in range(fewer)]


def _dividing(whole: int, wanted: int) -> int:
    """Return the largest divisor of ``whole`` that is at most ``wanted``, and at least 1."""
    return next(part for part in range(max(1, min(wanted, whole)), 0, -1) if whole % part == 0)


def _tokens_inside(config: dict[str, Any]) -> None:
    """Bring special tokens into the smaller vocabulary; they have no text, so which ones they are is free."""
    vocabulary = config.get("vocab_size")
    if not isinstance(vocabulary, int):
        return
    for name, value in config.items():
        if name.endswith("_token_id") and isinstance(value, int):
            config[name] = min(value, vocabulary - 1)
        elif name.endswith("_token_id") and isinstance(value, list):
            config[name] = sorted({min(one, vocabulary - 1) for one in value})


def _fewer_experts(config: dict[str, Any], experts: int) -> None:
    """Set the number of routed experts, in groups that still hold enough of them for one token."""
    for name in EXPERTS:
        if type(config.get(name)) is int and config[name] > 1:
            config[name] = experts
    for name in GROUPS:
        before = config.get(name)
        if type(before) is int and before > 1:
            groups = config[name] = _dividing(experts, min(before, experts // 2))
            used, chosen = config.get("topk_group"), config.get(_first(config, CHOSEN) or "", 1)
            if type(used) is int:  # groups of which a token uses experts
                config["topk_group"] = max(1, used * groups // before, -(-chosen * groups // experts))
