"""Each causal language model of transformers, made small, on the disk."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import torch
import transformers
from byte_tokenizer import write_tokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from bench.formatting import one_line
from bench.models.shrink import Size, shrunk

SIZE = Size(layers=4, hidden=128)
GAIN = 1.0  # of a layer: the standard deviation of its output for an input of 1
MOST_PARAMETERS = 100_000_000
# What a default config leaves open, as a published model fills it.
OPEN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_shared_experts": 2, "n_routed_experts": 128, "num_experts_per_tok": 6},
    "granitemoehybrid": {"layer_types": [*["mamba"] * 7, "attention"] * 4},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["conv", "conv", "conv", "full_attention"] * 8},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "xmod": {"default_language": "en_XX"},
}
# Encoders whose config says nothing of decoders until it is asked for.
ENCODERS = ("reformer",)


def make(name: str, place: Path) -> dict[str, Any] | None:
    """Write the small model of a class to a directory; return the row that says why there is none."""
    try:
        try:
            model = built(shrunk(default_config(name), SIZE), attn_implementation="eager")
        except ValueError:  # some hybrids repeat a layer that four layers hold only once
            whole = shrunk(default_config(name), Size(hidden=SIZE.hidden))
            model = built(whole, attn_implementation="eager")
    except Exception as bad:  # noqa: BLE001 - whatever a class raises is a row
        traceback.print_exc()
        if reason := why_no_default(name):
            return {"end": "no default", "reason": reason}
        return {"end": "not shrunk", "reason": in_words(bad)}
    if (size := sum(one.numel() for one in model.parameters())) > MOST_PARAMETERS:
        return {"end": "not shrunk", "reason": f"{size} parameters"}
    sharpen(model)
    model.save_pretrained(place)
    write_tokenizer(place)
    return None


def built(config: dict[str, Any], **settings: Any) -> Any:
    values = dict(config)
    torch.manual_seed(0)
    made = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    return transformers.AutoModelForCausalLM.from_config(made, **settings)


def why_no_default(name: str) -> str | None:
    """Return why transformers cannot build the default config of a class, if it cannot."""
    try:
        with torch.device("meta"):
            built(default_config(name))
    except Exception as bad:  # noqa: BLE001 - as above
        return in_words(bad)
    return None


def in_words(bad: Exception) -> str:
    return one_line(f"{type(bad).__name__}: {bad}")[:300]


def default_config(name: str) -> dict[str, Any]:
    """Return the default config of a class; one that is an encoder by default is asked to be a decoder."""
    config = CONFIG_MAPPING[name](**OPEN.get(name, {})).to_dict()
    common = transformers.PreTrainedConfig().to_dict()
    for key, value in list(config.items()):
        if isinstance(value, dict):  # parts without the keys that every config has
            config[key] = {k: v for k, v in value.items() if k not in common or v != common[k]}
    if config.get("is_decoder") is False or name in ENCODERS:
        config["is_decoder"] = True
    return config


def sharpen(model: Any) -> None:
    """Make weights as large as trained ones, so that the context changes the logits."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1 and weight.is_floating_point():
                spread, wanted = float(weight.std()), GAIN / weight.shape[-1] ** 0.5
                if 0 < spread < wanted:
                    weight.mul_(wanted / spread)
