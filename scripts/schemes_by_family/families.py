"""The families of the table: the class of transformers that a card names, made small, on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.models import config_keys
from bench.models.registry import find_model
from bench.models.shrink import Size

HIDDEN = 256
MULTIPLE = 64  # of every width that is no width of the whole model, as in published models


@dataclass(frozen=True)
class Family:
    """A column of the table: a card, its size here, and what is particular to the architecture."""

    card: str
    what: str
    layers: int = 4
    experts: int | None = None
    attention: str = "sdpa"

    def config(self) -> dict[str, Any]:
        """Return the config of the card at the small size. Its widths are rounded up, because groups of 64
        weights fill the rows of the published model, and should not fail for the size alone."""
        made = find_model(self.card).sized(Size(self.layers, HIDDEN, self.experts)).config
        config = dict(made)
        for key in config_keys.WIDTHS:
            if type(width := config.get(key)) is int and width > 0:
                config[key] = -(-width // MULTIPLE) * MULTIPLE
        return config


FAMILIES = {
    "llama": Family("llama-3.1-8b", "grouped-query attention"),
    "qwen2.5": Family("qwen2.5-7b", "biases in attention"),
    "qwen3": Family("qwen3-8b", "normalised queries and keys"),
    "smollm3": Family("smollm3-3b", "some layers without positions"),
    "mistral": Family("mistral-7b", "an output head of its own"),
    "phi-4": Family("phi-4", "queries, keys and values in one matrix"),
    "phi-4-mini": Family("phi-4-mini", "the same, LongRoPE on a part of each head"),
    "gemma3": Family("gemma3-12b", "five layers with a window to one without", layers=6),
    "qwen3-moe": Family("qwen3-30b-a3b", "experts", experts=16),
    "gpt-oss": Family("gpt-oss-20b", "experts with biases, windows, sinks", experts=8, attention="eager"),
    "deepseek-r1": Family("deepseek-r1", "latent attention, experts in groups, a shared one", experts=32),
    "kimi-k2": Family("kimi-k2", "the same in one group", experts=16),
}


def make(name: str, place: Path) -> Path:
    """Write the model of a family with random weights, unless it is there; return its directory.

    The weights are as large as trained ones, so that the context changes the logits, and every scale and bias
    of its own size, so that one that is left out is missed. A tokenizer of bytes lies beside them.
    """
    import torch
    import transformers
    from byte_tokenizer import write_tokenizer

    directory = place / name
    if (directory / "config.json").is_file():
        return directory
    staged = place / f"{name}.{os.getpid()}"
    values = FAMILIES[name].config()
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, weight.shape[-1] ** -0.5)
            elif weight.is_floating_point():
                weight.add_(torch.empty_like(weight).uniform_(-0.1, 0.1))
    model.save_pretrained(staged)
    write_tokenizer(staged)
    staged.rename(directory)
    return directory
