"""Refuse what an engine that reads ``config.json`` by itself does not compute.

Such an engine knows the keys that its authors thought of. A key that it ignores is another model, and the
difference would be called the scheme's drift. So every key has to be known, or to mean nothing, or to be off.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bench.errors import Unsupported

# Keys that change no logits: names, tokens, training, and what transformers keeps for itself.
MEANINGLESS = frozenset({
    "architectures", "model_type", "transformers_version", "torch_dtype", "dtype", "use_cache", "id2label",
    "label2id", "problem_type", "initializer_range", "initializer_factor", "return_dict",
    "task_specific_params", "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id",
    "decoder_start_token_id", "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop",
    "attn_pdrop", "chunk_size_feed_forward", "max_window_layers", "finetuning_task", "tokenizer_class",
    "prefix", "is_llama_config", "rope_interleaved", "keys_to_ignore_at_inference", "output_hidden_states",
    "output_attentions", "max_length",
})  # fmt: skip
# Keys of the Llama family that the engines here compute, at the values that they compute.
SIZES = frozenset({
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "rope_theta",
    "tie_word_embeddings",
})  # fmt: skip
PLAIN: Mapping[str, Collection[Any]] = {"hidden_act": ("silu", "swish"), "pretraining_tp": (1,)}
ROPE = frozenset({"rope_type", "type", "rope_theta", "factor", "partial_rotary_factor"})
USUAL_BASE = 10_000.0
WITH_A_SWITCH = ("qwen2", "qwen3")  # in other classes ``use_sliding_window`` does nothing
# What transformers takes for a key that a config does not have, where the engines here would take another.
ASSUMED: Mapping[str, Mapping[str, int]] = {"mistral": {"sliding_window": 4096}}
LONG = ("longrope", "su")  # the second is what the first Phi-3 called it
SCALED = ROPE | {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}  # of Llama 3


def unknown_key(
    engine: str,
    config: Mapping[str, Any],
    more: Mapping[str, Collection[Any]] = {},
    *,
    scaled_rotation: bool = False,
) -> str | None:
    """Return a sentence about the first key of a Llama-like config that ``engine`` does not compute; None if
    it computes all of them.

    ``more`` has further keys with the values that this engine computes. With ``scaled_rotation`` it also
    computes the rotary embedding of Llama 3, which slows the low frequencies down.
    """
    computed, kind = {**PLAIN, **more}, str(config.get("model_type"))
    for key, value in {**ASSUMED.get(kind, {}), **config}.items():
        if key in MEANINGLESS or key in SIZES or key.startswith("_") or value in (None, False, "", 0, [], {}):
            continue
        if key in computed and value in computed[key]:
            continue
        if key == "layer_types" and set(value) == {"full_attention"}:
            continue
        off = kind in WITH_A_SWITCH and config.get("use_sliding_window") is False
        if key == "sliding_window" and off:
            continue
        turns = _plain_rotation(value) or (scaled_rotation and _scaled_rotation(value))
        if key in ("rope_parameters", "rope_scaling") and turns:
            continue
        return f"the {engine} engine does not compute {key}: {str(value)[:60]}"
    return None


def _plain_rotation(rope: Any) -> bool:
    """Return whether a block of rotary embedding says no more than its base."""
    return (
        isinstance(rope, Mapping)
        and set(rope) <= ROPE
        and (rope.get("rope_type") or rope.get("type") or "default") == "default"
        and rope.get("factor", 1.0) == 1.0
        and rope.get("partial_rotary_factor", 1.0) == 1.0
    )


def _scaled_rotation(rope: Any) -> bool:
    """Return whether a block of rotary embedding is one of Llama 3."""
    return (
        isinstance(rope, Mapping)
        and set(rope) <= SCALED
        and (rope.get("rope_type") or rope.get("type")) == "llama3"
        and rope.get("partial_rotary_factor", 1.0) == 1.0
    )


def rotary_base(config: Mapping[str, Any]) -> float:
    """Return the base of the rotary embedding, as transformers finds it.

    The older key ``rope_scaling`` counts before ``rope_parameters``, and a base in such a block before one
    beside it.
    """
    block: Mapping[str, Any] = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return float(block.get("rope_theta") or config.get("rope_theta") or USUAL_BASE)


def turns_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the lengths of text (tokens) at which a model begins to rotate in another way; most have none.

    LongRoPE has some factors for texts up to a length, and others beyond it (Ding et al. 2024, arXiv
    2402.13753, section 3.3).
    """
    rope: Mapping[str, Any] = config.get("rope_scaling") or config.get("rope_parameters") or {}
    blocks = (rope, *(one for one in rope.values() if isinstance(one, Mapping)))
    length = "original_max_position_embeddings"
    found = (
        block.get(length) or config.get(length)
        for block in blocks
        if (block.get("rope_type") or block.get("type")) in LONG
    )
    return tuple(turn for turn in found if turn)


def must_keep_its_rotation(turns: Sequence[int], prompts: Sequence[int], new_tokens: int) -> None:
    """Raise Unsupported for a batch of prompts of so many tokens, each of which gets ``new_tokens``, unless
    all of it is on one side of each of ``turns``.

    A request that grows across one would have keys of both rotations in its cache, where ``generate`` of
    transformers reads the whole text again. Of a batch with prompts on both sides, transformers rotates all
    as it does the longest, so a shorter one would be computed in another way than alone.
    """
    shortest, longest = min(prompts), max(prompts)
    for turn in turns:
        words = f"the model rotates texts of more than {turn} tokens in another way (LongRoPE)"
        if longest <= turn < (tokens := longest + new_tokens - 1):
            raise Unsupported(
                f"{words}, and a request would grow from {longest} to {tokens} tokens: its cache would hold "
                f"keys of both ways; keep prompt and reply at {turn} tokens together, or prompts above {turn}"
            )
        if shortest <= turn < longest:
            raise Unsupported(
                f"{words}, and a batch has prompts of {shortest} and {longest} tokens: all would be rotated "
                "like the longest, the short ones otherwise than alone; keep all prompts on one side of "
                f"{turn} tokens, or set batch_size to 1"
            )
