"""List the names of sizes in configs of transformers; an architecture has one or several for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LAYERS = ("decoder_layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks")
HIDDEN = (
    "hidden_size", "n_embd", "d_model", "dim", "n_embed", "model_dim", "embedding_dim", "emb_dim",
    "embed_dim",
)  # fmt: skip
HEADS = (
    "num_attention_heads", "n_head", "n_heads", "decoder_attention_heads",
    "encoder_attention_heads", "num_heads",
)  # fmt: skip
KV_HEADS = (
    "num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads", "num_global_key_value_heads",
)  # fmt: skip
MORE_HEADS = (
    "linear_num_key_heads", "linear_num_value_heads", "mamba_n_heads", "mamba_num_heads",
    "swa_num_attention_heads", "num_query_groups", "index_n_heads", "linear_num_heads", "n_mamba_heads",
)  # fmt: skip
HEAD_DIMS = ("head_dim", "attention_head_dim", "d_head")
# Sizes of heads that follow from the width and the number of the heads.
DERIVED = {
    "attention_head_dim": "num_attention_heads", "kv_channels": "num_attention_heads",
    "mamba_headdim": "n_mamba_heads", "mamba_d_head": "mamba_n_heads", "mamba_head_dim": "mamba_num_heads",
}  # fmt: skip
EXPERTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "moe_top_k")
HEAD_GROUPS = ("n_groups", "mamba_n_groups", "mamba_ngroups")
GROUPS = ("n_group", "num_expert_group")
WIDTHS = (
    "intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_dim", "n_inner",
    "moe_shared_expert_intermediate_size", "shared_intermediate_size", "mlp_intermediate_size",
    "intermediate_size_mlp", "ffn_hidden_size", "expert_ffn_hidden_size", "dense_intermediate_size",
    "q_lora_rank", "kv_lora_rank", "o_lora_rank", "decoder_ffn_dim", "encoder_ffn_dim", "mamba_d_ssm",
    "mamba_intermediate_size", "lru_width", "word_embed_proj_dim", "embedding_size", "dense_ffn_dim",
    "hidden_size_per_layer_input", "attention_hidden_size", "latent_size", "moe_latent_size",
    "input_embedding_size", "output_embedding_size", "nlatents", "expert_intermediate_size",
    "dim_ff", "dff", "d_inner", "feed_forward_size", "axial_pos_embds_dim",
)  # fmt: skip
VOCABULARIES = (
    "vocab_size", "vocab_size_per_layer_input", "src_vocab_size", "n_words", "encoder_hash_byte_group_vocab",
)  # fmt: skip
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


def first(config: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """Return the first of ``names`` that the config has as a whole number above zero."""
    return next((name for name in names if type(config.get(name)) is int and config[name] > 0), None)
