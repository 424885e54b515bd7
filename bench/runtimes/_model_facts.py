"""What a loaded model of transformers says of itself."""

from __future__ import annotations

from typing import Any

from bench.records import Facts
from bench.runtimes._checkpoint import quantised_by

ATTENDS = {"full_attention", "sliding_attention", "chunked_attention"}  # kinds of layers with a plain cache
OTHER_CACHES = (
    "kv_lora_rank", "num_kv_shared_layers", "multi_query", "layers_block_type", "attn_layer_period",
    "is_heterogeneous", "v_head_dim", "swa_num_key_value_heads",
)  # fmt: skip


def kv_bytes_per_token(config: Any, item_bytes: int) -> int | None:
    """Return 2 · layers · kv_heads · head_dim · bytes; None for an architecture that has no such numbers.

    It is what a plain cache would hold. The worker replaces it by what the cache was seen to hold.
    """
    if any(getattr(config, name, None) for name in OTHER_CACHES):
        return None
    heads = getattr(config, "num_attention_heads", None)
    layers = getattr(config, "decoder_layers", None) or getattr(config, "num_hidden_layers", None)
    kinds = set(getattr(config, "layer_types", None) or ()) - ATTENDS
    if not heads or not layers or kinds:
        return None
    heads = getattr(config, "decoder_attention_heads", None) or heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    if not all(type(size) is int for size in (layers, kv_heads, head_dim)):  # a list has one for each layer
        return None
    return int(2 * layers * kv_heads * head_dim * item_bytes)


def without_gradients(model: Any) -> Any:
    """Return ``torch.inference_mode``, or ``no_grad`` for quanto's packed bits.

    Inference mode cannot make such tensors ("Cannot set version_counter for inference tensor").
    """
    import torch

    packed = any(type(one).__name__.endswith("BitsTensor") for one in model.parameters())
    return torch.no_grad if packed else torch.inference_mode


def facts_of(model: Any, device: Any, *, random_weights: bool, vocabulary: int) -> Facts:
    """Return what every model of transformers says of itself, read back from the model."""
    import torch
    import transformers

    return Facts(
        engine=f"transformers {transformers.__version__}, torch {torch.__version__}",
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        dtype=str(model.dtype).removeprefix("torch."),
        attention=model.config._attn_implementation,
        threads=torch.get_num_threads(),
        vocabulary=vocabulary,
        random_weights=random_weights,
        quantised_checkpoint=quantised_by(model.config),
    )
