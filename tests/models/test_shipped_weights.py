"""Weights that lie in the repository: whole, of the stated shape, trained, and small."""

from __future__ import annotations

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.models.fetch import ensure
from bench.models.reference import Named
from bench.models.registry import all_models, find_model
from bench.models.safetensors_header import safetensors_header
from bench.texts.english import read

SHIPPED = [model.name for model in all_models() if model.source and model.source.directory]
MOST_BYTES = 6_000_000
TEXT = "对象 and a *list*\n\n    >>> x = 1\n"


def test_there_are_some_of_other_architectures_than_the_default() -> None:
    assert {find_model(name).config["model_type"] for name in SHIPPED} >= {"gemma3_text", "qwen3_moe"}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_files_are_those_of_the_card_and_small(name: str) -> None:
    model = ensure(Named(name))  # checks the digest
    assert model.directory.parent == find_model(name).file.parent
    assert sum(path.stat().st_size for path in model.directory.iterdir()) < MOST_BYTES
    assert {path.name for path in model.directory.iterdir()} == {*dict(model.files), "training.csv"}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_weights_have_the_shape_of_the_card(name: str) -> None:
    card, directory = find_model(name), ensure(Named(name)).directory
    header = safetensors_header(directory / "model.safetensors")
    assert {tensor.dtype for tensor in header.values()} == {"BF16"}
    assert sum(math.prod(tensor.shape) for tensor in header.values()) == card.architecture.parameters
    written = json.loads((directory / "config.json").read_text())
    renamed = {"num_experts": "num_local_experts"}
    for key in set(card.config) - {"rope_theta", "rope_local_base_freq"}:
        assert written[renamed.get(key, key)] == card.config[key], key


@pytest.mark.parametrize("name", SHIPPED)
def test_the_weights_are_trained_and_every_expert_is_used(name: str) -> None:
    """A model that knows nothing loses ln 2048 = 7.6 nats a token."""
    directory = ensure(Named(name)).directory
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    ids = torch.tensor([tokenizer(read()[:8000])["input_ids"][:512]])
    routed = hasattr(model.config, "num_experts")
    with torch.inference_mode():
        out = model(ids, **({"output_router_logits": True} if routed else {}))
    least_share = 1.0
    for layer in out.router_logits if routed else ():
        chosen = layer.topk(model.config.num_experts_per_tok, -1).indices.flatten()
        times = chosen.bincount(minlength=model.config.num_experts)
        least_share = min(least_share, int(times.min()) / len(chosen))
    loss = float(torch.nn.functional.cross_entropy(out.logits[0, :-1], ids[0, 1:]))
    assert loss < 4.5
    assert least_share > 0.01
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"]) == TEXT
