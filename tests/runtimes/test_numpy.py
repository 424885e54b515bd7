"""The NumPy engine beside transformers on the same weights: the same tokens, the same logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from bench.engine import Options
from bench.errors import Unsupported, VariantFailed
from bench.runtimes import numpy
from bench.runtimes import transformers as reference
from bench.worker import counters

PROMPTS = ([5, 17, 200, 3, 44], [9, 9, 1, 300, 2])


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with grouped queries, saved as transformers saves it."""
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, vocab_size=512, tie_word_embeddings=request.param,
        eos_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("llama")
    model.save_pretrained(path)
    return path


def both(directory: Path) -> tuple[Any, Any]:
    options = Options(device="cpu", threads=1)
    return numpy.load(directory, options), reference.load(directory, options)


def test_logits(directory: Path) -> None:
    ours, theirs = both(directory)
    for prompt in PROMPTS:
        assert torch.allclose(ours.logits(prompt), theirs.logits(prompt), rtol=1e-4, atol=1e-4)


def test_greedy_tokens(directory: Path) -> None:
    ours, theirs = both(directory)
    found = []
    for engine in (ours, theirs):
        generation = engine.prefill(PROMPTS, 20)
        for _ in range(19):
            engine.step(generation)
        found.append(engine.tokens(generation))
    assert found[0] == found[1]
    assert [len(row) for row in found[0]] == [20, 20]


def test_what_it_reports(directory: Path) -> None:
    ours, theirs = both(directory)
    facts, wanted = ours.facts(), theirs.facts()
    for key in ("dtype", "vocabulary", "kv_bytes_per_token", "random_weights", "device"):
        assert getattr(facts, key) == getattr(wanted, key), key
    claims = {one.claim for one in ours.as_asked(ours.options)}  # with one attention there is nothing to ask
    assert (facts.attention, claims) == ("", {"dtype", "threads"})
    assert ours.parameters() == sum(p.numel() for p in theirs.model.parameters())
    assert ours.census().weights_bytes == 4 * ours.parameters()
    assert ours.end_ids() == theirs.end_ids() == (2,)
    assert ours.finite(PROMPTS[0])
    ours.model["norm"][0] = float("nan")
    assert not ours.finite(PROMPTS[0])


def test_counters_of_both_engines(directory: Path) -> None:
    ours, theirs = (counters.count(engine, [PROMPTS[0]], 6) for engine in both(directory))
    assert theirs.forward_calls == 6
    for key in ("requests", "input_tokens", "output_tokens", "forward_calls", "kv_cache_bytes"):
        assert getattr(ours, key) == getattr(theirs, key), key
    layer = 64 * (64 + 32 + 32 + 64) + 3 * 64 * 96
    multiplications = (5 + 5) * 2 * layer + 6 * 64 * 512
    attention = 2 * 4 * 16 * 2 * (5 * 5 + sum(range(6, 11)))
    assert ours.flops == 2 * (multiplications + attention)
    # torch counts no attention on a CPU
    assert theirs.flops == pytest.approx(2 * multiplications, rel=0.001)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (Options(device="cuda"), "runs on the CPU"),
        (Options(device="cpu", dtype="bfloat16"), "float32"),
    ],
)
def test_what_it_cannot_do(directory: Path, options: Options, match: str) -> None:
    with pytest.raises(Unsupported, match=match):
        numpy.load(directory, options)


def test_another_architecture(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(Unsupported, match="llama"):
        numpy.load(tmp_path, Options(device="cpu"))


def test_batches_of_unlike_prompts(directory: Path) -> None:
    with pytest.raises(Unsupported, match="one prompt length"):
        numpy.load(directory, Options(device="cpu")).prefill([[1], [1, 2]], 4)


BASE = {"rope_type": "default", "rope_theta": 500.0}


@pytest.mark.parametrize(
    "keys",
    [
        {"rope_theta": 500.0},
        {"rope_scaling": BASE},
        {"rope_scaling": {"rope_type": "default"}, "rope_theta": 500.0},
        {"rope_parameters": BASE, "rope_theta": 7.0},
        {"rope_scaling": BASE, "rope_parameters": {**BASE, "rope_theta": 7.0}},
    ],
)
def test_the_base_of_the_rotary_embedding_is_looked_for_where_transformers_looks(
    directory: Path, tmp_path: Path, keys: dict[str, Any]
) -> None:
    """The block that older configs have was passed over, and 10,000 taken for its base."""
    shutil.copytree(directory, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    config = {k: v for k, v in json.loads(file.read_text()).items() if not k.startswith("rope_")}
    file.write_text(json.dumps({**config, **keys}))
    ours, theirs = both(tmp_path / "model")
    assert ours.shape.theta == theirs.model.config.rope_parameters["rope_theta"] == 500.0
    assert torch.allclose(ours.logits(PROMPTS[0]), theirs.logits(PROMPTS[0]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_any_float_are_read(directory: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    """Most models are published in bfloat16, which NumPy does not know."""
    shutil.copytree(directory, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    save_file({name: one.to(dtype) for name, one in load_file(file).items()}, file, {"format": "pt"})
    ours, theirs = both(tmp_path / "model")
    assert torch.allclose(ours.logits(PROMPTS[0]), theirs.logits(PROMPTS[0]), rtol=1e-3, atol=1e-3)


def test_packed_weights_are_no_floats(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    packed = {name: one.to(torch.float8_e4m3fn) for name, one in load_file(file).items()}
    save_file(packed, file, {"format": "pt"})
    with pytest.raises(VariantFailed, match="is F8_E4M3, which the numpy engine does not read"):
        numpy.load(tmp_path / "model", Options(device="cpu", threads=1))
