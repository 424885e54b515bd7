"""Scales that move between layers compute the same, or the row says that they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from byte_tokenizer import write_tokenizer
from engines import saved, told

from bench.errors import Unsupported
from bench.optimisations.shared import llm_compressor
from bench.worker import session

SIZES: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip


@pytest.fixture
def llama() -> Any:
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).eval()


@torch.no_grad()
def scaled(model: Any, *, everywhere: bool) -> None:
    """Double what the first norm puts out, and halve what reads it: all three readers, or two of them."""
    block = model.model.layers[0]
    block.input_layernorm.weight.mul_(2)
    readers = (block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj)
    for reader in readers[: 3 if everywhere else 2]:
        reader.weight.mul_(0.5)


@pytest.mark.parametrize("everywhere", [True, False])
def test_scales_that_moved_to_all_readers_or_not(llama: Any, everywhere: bool) -> None:
    before = llm_compressor.logits_of(llama)
    scaled(llama, everywhere=everywhere)
    if everywhere:
        llm_compressor.must_compute_the_same(llama, before)
        return
    with pytest.raises(Unsupported, match="between layers of LlamaForCausalLM that do not follow each other"):
        llm_compressor.must_compute_the_same(llama, before)


def test_logits_that_are_no_numbers_are_not_the_same(llama: Any) -> None:
    before = llm_compressor.logits_of(llama)
    with torch.no_grad():
        llama.model.norm.weight[0] = float("nan")
    with pytest.raises(Unsupported, match="moved by nan"):
        llm_compressor.must_compute_the_same(llama, before)


def test_smoothing_an_architecture_that_is_no_llama_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemma 3 has its MLP's norm elsewhere, and adds one to its weights: taken for a Llama, it is another."""
    pytest.importorskip("llmcompressor")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    config = transformers.Gemma3TextConfig(**SIZES, head_dim=16, query_pre_attn_scalar=16)
    write_tokenizer(saved(config, tmp_path / "model"))
    options = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False}
    with pytest.raises(Unsupported, match="between layers of Gemma3ForCausalLM that do not follow"):
        session.load(
            {
                "directory": str(tmp_path / "model"), "runtime": "bench.runtimes.transformers",
                "options": options,
                "optimise": [told("quantise", "smoothquant", {"samples": 2, "tokens": 32})],
            }
        )  # fmt: skip
