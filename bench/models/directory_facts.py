"""Read the facts of a model from its directory, without an engine: sizes from its config, and the number of
weights from the headers of its files.

What no loader makes is not counted: layers for multi-token prediction (DeepSeek-V3 technical report, 2.2),
and a second copy of the embedding that a file holds as the output head of a model whose head it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.bounded import open_regular
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
from bench.models.safetensors_header import LENGTH_BYTES, TensorEntry, header_bytes, safetensors_header
from bench.models.text_config import TEXT_ALONE, text_config
from bench.models.weight_files import weight_files

PLAIN = ("F16", "BF16", "F32")  # of other dtypes a number may hold several weights
HEADS = ("lm_head.weight", "embed_out.weight")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")
COMPARED_BYTES = 65_536  # of a head and the embedding, from the first one on
_LAYER = re.compile(r"(?:^|\.)layers\.([0-9]{1,9})\.")
_PREDICTS = re.compile(r"(?:^|\.)mtp\w*\.")
# Parts of a multimodal checkpoint that no token of text goes through.
_OTHER_SENSES = re.compile(
    r"(?:^|\.)(?:vision\w*|visual|audio\w*|\w*_projector|embed_vision|embed_audio|image_newline)(?:\.|$)"
)
Tensors = Mapping[str, tuple[Path, TensorEntry]]  # by name, with the file that holds each


@dataclass(frozen=True)
class Counted:
    """The weights that a loader makes of a checkpoint, and how many of them text goes through."""

    loaded: int
    of_text: int


def facts_of(path: Path) -> Architecture | None:
    """Return the facts of a model directory or of an adapter's base. None for a file, for packed weights, and
    for a config that does not name the sizes of a plain decoder, neither at its top nor for its text."""
    if not path.is_dir():
        return None
    directory = config_directory(path)
    whole = json_object(directory / "config.json")
    config, tensors = text_config(whole), _tensors(directory)
    if any(one.dtype not in PLAIN for _file, one in tensors.values()):
        return None
    weights, (all_matrices, used) = _counted(tensors, whole, config), matrix_counts(config)
    of_token = weights.of_text * used // max(all_matrices, 1)
    heads, (experts, chosen) = number(config, "num_attention_heads"), experts_of(config)
    try:
        return Architecture(
            parameters=weights.loaded,
            active_parameters=of_token if experts or weights.of_text < weights.loaded else None,
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


def _tensors(directory: Path) -> Tensors:
    files = weight_files(directory)
    return {name: (file, one) for file in files for name, one in safetensors_header(file).items()}


def _counted(tensors: Tensors, whole: Mapping[str, Any], config: Mapping[str, Any]) -> Counted:
    """Count the weights of the config ``whole``, whose part for text is ``config``."""
    layers = number(config, "num_hidden_layers")
    predicts = number(config, "num_nextn_predict_layers") > 0
    text = loaded = 0
    for name, (_file, one) in tensors.items():
        behind = predicts and any(int(place) >= layers for place in _LAYER.findall(name))
        if behind or _PREDICTS.search(name) or _is_doubled(name, tensors, config):
            continue
        other = "text_config" in whole and _OTHER_SENSES.search(name) is not None
        count = math.prod(one.shape)
        text += 0 if other else count
        loaded += 0 if other and str(whole.get("model_type")) in TEXT_ALONE else count
    return Counted(loaded, text)


def _is_doubled(name: str, tensors: Tensors, config: Mapping[str, Any]) -> bool:
    """Return whether a tensor is the head of a model whose head is its embedding, and is that embedding. A
    fine-tune may have untied the two, whatever its config says: then both are loaded."""
    if not name.endswith(HEADS) or config.get("tie_word_embeddings") is not True:
        return False
    return any(
        one.shape == tensors[name][1].shape and _beginning(file, one) == _beginning(*tensors[name])
        for other, (file, one) in tensors.items()
        if other.endswith(EMBEDDINGS)
    )


def _beginning(file: Path, tensor: TensorEntry) -> bytes:
    with open_regular(file) as opened:
        opened.seek(LENGTH_BYTES + header_bytes(file) + tensor.begin)
        return opened.read(min(COMPARED_BYTES, tensor.end - tensor.begin))
