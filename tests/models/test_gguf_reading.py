"""A GGUF file of which transformers does not read all is refused, and one that it reads is the same model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers

from bench.errors import BenchError, Explained, UsageError
from bench.models.convert import _explained, _loaded

SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "head_dim": 8,
}  # fmt: skip
Tensors = dict[str, np.ndarray]
Describe = Callable[[Any], None]
IDS = torch.arange(3, 43)[None]


def llama() -> Any:
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def named(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors as llama.cpp has them: it rotates neighbours, transformers halves."""
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, SIZES["num_hidden_layers"])
    for name, tensor in model.state_dict().items():
        values, heads = tensor.numpy(), {"q_proj.weight": 4, "k_proj.weight": 2}
        for end, many in heads.items():
            if name.endswith(end):
                values = values.reshape(many, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        yield str(table.get_name(name, try_suffixes=(".weight",))), np.ascontiguousarray(values)


def written(
    to: Path, tensors: Tensors, describe: Describe = lambda _writer: None, *, without: str = ""
) -> Path:
    writer = gguf.GGUFWriter(to, "llama")
    writer.add_context_length(SIZES["max_position_embeddings"])
    writer.add_embedding_length(SIZES["hidden_size"])
    writer.add_block_count(SIZES["num_hidden_layers"])
    writer.add_feed_forward_length(SIZES["intermediate_size"])
    writer.add_head_count(SIZES["num_attention_heads"])
    writer.add_head_count_kv(SIZES["num_key_value_heads"])
    writer.add_rope_dimension_count(SIZES["head_dim"])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(SIZES["vocab_size"])
    describe(writer)
    writer.kv_data[0].pop(without, None)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


@pytest.fixture
def whole() -> Tensors:
    return dict(named(llama()))


def refused(file: Path) -> str:
    with pytest.raises(UsageError) as caught:
        _loaded(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_file_is_the_same_model(tmp_path: Path, whole: Tensors) -> None:
    with torch.no_grad():
        theirs = llama()(IDS).logits
        ours = _loaded(written(tmp_path / "m.gguf", whole))(IDS).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_head_that_is_the_embedding_is_not_missed(tmp_path: Path, whole: Tensors) -> None:
    del whole["output.weight"]
    assert _loaded(written(tmp_path / "m.gguf", whole)).config.tie_word_embeddings


@pytest.mark.parametrize("gone", ["blk.1.ffn_up.weight", "output_norm.weight", "blk.0.attn_k.weight"])
def test_a_tensor_that_is_not_there(tmp_path: Path, whole: Tensors, gone: str) -> None:
    del whole[gone]
    said = refused(written(tmp_path / "m.gguf", whole))
    assert "1 tensor not in the file, so made up by transformers: model." in said
    assert "give the model's own safetensors" in said


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("rope_freqs.weight", 4),  # how Llama 3.1 scales its positions
        ("blk.0.attn_q.bias", 32),
        ("blk.1.attn_q_norm.weight", 8),
    ],
)
def test_a_tensor_that_a_llama_has_no_place_for(tmp_path: Path, whole: Tensors, name: str, size: int) -> None:
    whole[name] = np.full(size, 0.5, np.float32)
    said = refused(written(tmp_path / "m.gguf", whole))
    assert said.startswith(f"1 tensor in the file and left out by transformers: {name}; give the model")


@pytest.mark.parametrize(
    ("describe", "said"),
    [
        (lambda w: w.add_sliding_window(16), "does not read llama.attention.sliding_window (16)"),
        (lambda w: w.add_rope_scaling_factor(4.0), "does not read llama.rope.scaling.factor (4.0)"),
        (
            lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.YARN),
            "does not read llama.rope.scaling.type (yarn)",
        ),
        (lambda w: w.add_logit_scale(0.25), "does not read llama.logit_scale (0.25)"),
        (lambda w: w.add_attn_logit_softcapping(50.0), "llama.attn_logit_softcapping (50.0)"),
    ],
)
def test_a_key_that_changes_what_is_computed(
    tmp_path: Path, whole: Tensors, describe: Describe, said: str
) -> None:
    assert said in refused(written(tmp_path / "m.gguf", whole, describe))


@pytest.mark.parametrize(
    "describe",
    [
        lambda w: w.add_sliding_window(SIZES["max_position_embeddings"]),  # a window that spans the context
        lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.NONE),
        lambda w: w.add_rope_scaling_factor(1.0),
        lambda w: w.add_key_length(8),
    ],
)
def test_a_key_that_changes_nothing(tmp_path: Path, whole: Tensors, describe: Describe) -> None:
    assert _loaded(written(tmp_path / "m.gguf", whole, describe)).config.num_hidden_layers == 2


@pytest.mark.parametrize("gone", ["attention.layer_norm_rms_epsilon", "attention.head_count"])
def test_a_number_that_no_tensor_tells(tmp_path: Path, gone: str) -> None:
    """transformers took 1e-6, and 32 heads, for another model than the file's."""
    many = {"num_attention_heads": 32, "num_key_value_heads": 32, "hidden_size": 64, "head_dim": 2}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SIZES, **many}))
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
    whole = {
        str(table.get_name(name, try_suffixes=(".weight",))): tensor.numpy()
        for name, tensor in model.state_dict().items()
    }

    def sizes(writer: Any) -> None:
        for key in ("embedding_length", "attention.head_count_kv", "rope.dimension_count"):
            del writer.kv_data[0][f"llama.{key}"]
        writer.add_embedding_length(64)

    said = refused(written(tmp_path / "m.gguf", whole, sizes, without=f"llama.{gone}"))
    assert said.startswith(f"llama.{gone} is not in the file, so made up by transformers; give the model")


@pytest.mark.parametrize(
    ("held", "key"),
    [
        ({"tokens": ["a"], "merges": [], "eos_token_id": 0}, "bos_token_id"),
        ({}, "tokens"),
        ({"merges": []}, "tokens"),
    ],
)
def test_a_tokenizer_that_transformers_cannot_make_is_explained(held: dict[str, Any], key: str) -> None:
    """Of a file that reaches the conversion, such as one of a card: its words are about classes."""
    from transformers.integrations.ggml import GGUFLlamaConverter

    with pytest.raises(BenchError) as caught, Explained(_explained):
        GGUFLlamaConverter(held).converted()
    assert str(caught.value) == (
        f"tokenizer.ggml.{key} is not in the file, and transformers makes no tokenizer without it"
    )
