"""The facts that are read from a directory are those of the card that describes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from bench.config.model_configs import context_of
from bench.models.directory_facts import facts_of
from bench.models.fetch import ensure
from bench.models.reference import LocalPath, Named
from bench.models.registry import find_model


@pytest.mark.parametrize("name", ["tiny-qwen3-moe", "tiny-gemma3"])
def test_a_directory_says_what_its_card_says(name: str) -> None:
    card, read = find_model(name).architecture, facts_of(ensure(Named(name)).directory)
    assert read is not None
    of_card, of_files = card.model_dump(), read.model_dump()
    active = (of_card.pop("active_parameters"), of_files.pop("active_parameters"))
    assert of_card.pop("kv_bytes_per_token") in (None, read.token_bytes)
    assert read.token_bytes == card.token_bytes
    assert of_files.pop("kv_bytes_per_token") is not None
    assert of_files == of_card
    if active != (None, None):  # experts are counted by the matrices alone
        assert active[1] == pytest.approx(active[0], rel=0.01)


def test_nothing_is_guessed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(ensure(Named("tiny-gemma3")).directory, whole)
    assert facts_of(whole) is not None
    config = json.loads((whole / "config.json").read_text())
    (whole / "config.json").write_text(json.dumps({**config, "num_hidden_layers": None}))
    assert facts_of(whole) is None
    assert facts_of(tmp_path / "m.gguf") is None


SMALL: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128,
}  # fmt: skip


def counted(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_a_multimodal_checkpoint_has_a_size(tmp_path: Path) -> None:
    """All of it is loaded, and text goes through its language model alone."""
    vision = {
        "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    text = {**SMALL, "sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]}
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    facts = facts_of(tmp_path)
    assert facts is not None
    assert facts.parameters == counted(model)
    assert facts.active_parameters == counted(model.model.language_model) < facts.parameters
    assert (facts.layers, facts.vocabulary, facts.context, facts.kv_heads) == (2, 300, 128, 2)
    assert facts.tied_embeddings
    assert facts.token_bytes == 2 * 2 * 16 * 2, "the layer without a window, keys and values in 16 bits"
    assert facts.kv_window_bytes == 32 * facts.token_bytes
    assert context_of(LocalPath(tmp_path), find_model) == 128
    spec = tmp_path / "config.json"
    said = json.loads(spec.read_text())
    for key in ("num_attention_heads", "vocab_size", "max_position_embeddings"):
        del said["text_config"][key]
    spec.write_text(json.dumps(said))  # as the files of Gemma 3 leave it out
    facts = facts_of(tmp_path)
    assert facts is not None
    assert (facts.attention_heads, facts.context) == (8, 131_072)


def test_layers_that_predict_further_tokens_are_not_counted(tmp_path: Path) -> None:
    config = transformers.DeepseekV3Config(
        **{**SMALL, "head_dim": 8}, moe_intermediate_size=32, n_routed_experts=4, num_experts_per_tok=2,
        n_group=1, topk_group=1, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8,
        v_head_dim=8, first_k_dense_replace=1, num_nextn_predict_layers=1,
    )  # fmt: skip
    model = transformers.DeepseekV3ForCausalLM(config)
    model.save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    plain, tensors = facts_of(tmp_path), load_file(file)
    for name in ("model.layers.2.eh_proj.weight", "model.layers.2.mlp.gate.weight", "mtp.fc.weight"):
        tensors[name] = torch.zeros(64, 64)
    save_file(tensors, file, {"format": "pt"})
    with_more = facts_of(tmp_path)
    assert plain is not None
    assert plain == with_more
    assert plain.parameters == sum(tensor.numel() for tensor in model.state_dict().values())


@pytest.mark.parametrize(("alike", "says"), [(True, True), (True, False), (False, True)])
def test_a_head_that_is_the_embedding_counts_once(tmp_path: Path, alike: bool, says: bool) -> None:
    """A fine-tune may have untied the two; then both are weights, whatever the config says."""
    config = transformers.LlamaConfig(**SMALL, tie_word_embeddings=True)
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    tensors = load_file(file)
    embedding = tensors["model.embed_tokens.weight"]
    tensors["lm_head.weight"] = embedding.clone() if alike else embedding + 1
    save_file(tensors, file, {"format": "pt"})
    spec = tmp_path / "config.json"
    spec.write_text(json.dumps({**json.loads(spec.read_text()), "tie_word_embeddings": says}))
    facts = facts_of(tmp_path)
    assert facts is not None
    once = alike and says
    assert facts.parameters == counted(model) + (0 if once else embedding.numel())
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert facts.parameters == counted(loaded), "as transformers loads it"
