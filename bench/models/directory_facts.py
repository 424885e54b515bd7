"""Read the facts of a model from its directory, without an engine: sizes from its config, and the number of
weights from the headers of its files."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import ValidationError

from bench.models.anatomy import (
    experts_of,
    head_dim,
    kv_bytes_per_token,
    kv_window_bytes,
    matrix_counts,
    number,
    sliding_window,
)
from bench.models.architecture import Architecture
from bench.models.json_files import json_object
from bench.models.lora import config_directory
from bench.models.safetensors_header import safetensors_header
from bench.models.weight_files import weight_files

PLAIN = ("F16", "BF16", "F32")  # of other dtypes a number may hold several weights


def facts_of(path: Path) -> Architecture | None:
    """Return the facts of a model directory or of an adapter's base. None for a file, for packed weights, and
    for a config that does not name the sizes of a plain decoder."""
    if not path.is_dir():
        return None
    directory = config_directory(path)
    config = json_object(directory / "config.json")
    tensors = [one for file in weight_files(directory) for one in safetensors_header(file).values()]
    if any(one.dtype not in PLAIN for one in tensors):
        return None
    weights, (all_matrices, used) = sum(math.prod(one.shape) for one in tensors), matrix_counts(config)
    heads, (experts, chosen) = number(config, "num_attention_heads"), experts_of(config)
    try:
        return Architecture(
            parameters=weights,
            active_parameters=weights * used // max(all_matrices, 1) if experts else None,
            layers=number(config, "num_hidden_layers"),
            hidden_size=number(config, "hidden_size"),
            attention_heads=heads,
            kv_heads=number(config, "num_key_value_heads") or heads,
            head_dim=head_dim(config),
            value_head_dim=number(config, "v_head_dim") or None,
            intermediate_size=number(config, "intermediate_size"),
            vocabulary=number(config, "vocab_size"),
            context=number(config, "max_position_embeddings"),
            tied_embeddings=config.get("tie_word_embeddings") is True,
            experts=experts or None,
            experts_per_token=chosen or None,
            sliding_window=sliding_window(config) or None,
            kv_bytes_per_token=kv_bytes_per_token(config),
            kv_window_bytes=kv_window_bytes(config),
        )
    except ValidationError:  # a size is absent, or absurd
        return None
