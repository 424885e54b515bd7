"""Checkpoints that were quantised before they came here: packed still when they have decoded, or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from bench.errors import NotApplied, Unsupported, VariantFailed
from bench.models.checks import check_directory
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.records import Loaded
from bench.runtimes._checkpoint import pretrained, quantisation
from bench.worker import session

REPOSITORY = Path(__file__).resolve().parents[2]


def load(directory: Path, dtype: str = "float32") -> Any:
    options = {"device": "cpu", "dtype": dtype, "threads": None, "attention": "sdpa", "random": False}
    runtime = "bench.runtimes.transformers"
    return session.load({"directory": str(directory), "runtime": runtime, "options": options, "optimise": []})


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = transformers.AutoConfig.from_pretrained(ensure(Random("tiny-llama")).directory)
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("dense")
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    return directory


def evidence(found: Loaded) -> dict[str, str]:
    return {one["claim"]: one["found"] for one in found.evidence[0]["checks"]}


def test_a_dense_checkpoint_claims_nothing(dense: Path) -> None:
    _engine, found = load(dense)
    assert found.facts.quantised_checkpoint is None
    assert "packed" not in str(evidence(found))


def test_a_bitsandbytes_checkpoint_stays_packed(dense: Path, tmp_path: Path) -> None:
    settings = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = transformers.AutoModelForCausalLM.from_pretrained(dense, quantization_config=settings)
    model.save_pretrained(tmp_path)
    check_directory(tmp_path)
    engine, found = load(tmp_path)
    assert found.facts.quantised_checkpoint == "bitsandbytes"
    checks = evidence(found)
    assert checks["weights of the bitsandbytes checkpoint after decoding"].endswith("packed (uint8)")
    assert engine.logits([1, 2, 3]).isfinite().all()


def test_a_checkpoint_whose_experts_stay_dense_is_not_a_packed_one(tmp_path: Path) -> None:
    """bitsandbytes packs linear layers, and the experts of a mixture are none: one packed matrix was enough
    for the evidence, with most of the weights in float32."""
    config = transformers.Qwen3MoeConfig(
        hidden_size=64, intermediate_size=64, moe_intermediate_size=64, num_hidden_layers=1, head_dim=16,
        num_attention_heads=4, num_key_value_heads=4, num_experts=8, num_experts_per_tok=2, vocab_size=64,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.Qwen3MoeForCausalLM(config).save_pretrained(tmp_path / "dense")
    settings = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    packing = transformers.AutoModelForCausalLM.from_pretrained
    packing(tmp_path / "dense", quantization_config=settings).save_pretrained(tmp_path / "packed")
    packed, dense = 4 * 64 * 64, 8 * 3 * 64 * 64 + 8 * 64  # attention; experts and what chooses them
    said = f"that are packed: .* found {packed / (packed + dense):.1%}, and {dense:,} weights as they were"
    with pytest.raises(NotApplied, match=said):
        load(tmp_path / "packed")


def test_a_checkpoint_that_its_loader_unpacks_is_not_believed(dense: Path, tmp_path: Path) -> None:
    """transformers makes dense weights of compressed-tensors when they are first used: it would be measured
    as a quantised model and be a dense one."""
    pytest.importorskip("llmcompressor")
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    model = transformers.AutoModelForCausalLM.from_pretrained(dense)
    weights = {"num_bits": 8, "type": "int", "strategy": "channel"}
    groups = {"layers": {"targets": ["Linear"], "weights": weights}}
    oneshot(model=model, recipe=[QuantizationModifier(config_groups=groups, ignore=["lm_head"])])
    model.save_pretrained(tmp_path, save_compressed=True)
    with pytest.raises(NotApplied, match=r"compressed-tensors checkpoint after decoding: .* 0 of \d+ packed"):
        load(tmp_path)


def test_a_checkpoint_whose_package_is_missing_says_which(dense: Path, tmp_path: Path) -> None:
    for file in dense.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((dense / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Unsupported, match="a gptq checkpoint needs the package gptqmodel"):
        load(tmp_path)


def with_packing(dense: Path, to: Path, tensors: dict[str, torch.Tensor], block: dict[str, Any]) -> Path:
    """The dense checkpoint with other tensors and with ``block`` in its config."""
    for file in dense.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    (to / "config.json").write_text(json.dumps({**json.loads((dense / "config.json").read_text()), **block}))
    save_file(tensors, to / "model.safetensors", {"format": "pt"})
    return to


def test_a_checkpoint_that_is_unpacked_as_it_is_loaded_is_not_measured_as_a_dense_one(
    dense: Path, tmp_path: Path
) -> None:
    """Without the kernels of its method transformers makes dense weights, and forgets the method."""
    packed: dict[str, torch.Tensor] = {}
    for name, weight in load_file(dense / "model.safetensors").items():
        is_packed = name.endswith("proj.weight")
        packed[name] = weight.to(torch.float8_e4m3fn) if is_packed else weight
        if is_packed:
            packed[f"{name}_scale_inv"] = torch.ones(-(-weight.shape[0] // 64), -(-weight.shape[1] // 64))
    block = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [64, 64]}
    model = with_packing(dense, tmp_path, packed, {"quantization_config": block})
    check_directory(model)
    with pytest.raises(Unsupported, match=r"unpacks a fp8 checkpoint as it loads it here \(cpu\)"):
        load(model)


def test_how_weights_are_packed_may_stand_in_the_config_of_the_text(tmp_path: Path) -> None:
    """transformers looks there, too; of a method that it does not know it loads the packed numbers."""
    block = {"quant_method": "unheard-of"}
    said = {"model_type": "gemma3", "text_config": {"quantization_config": block}}
    (tmp_path / "config.json").write_text(json.dumps(said))
    assert quantisation(tmp_path) == block
    with pytest.raises(VariantFailed, match="quant_method is 'unheard-of', which transformers"):
        pretrained(tmp_path, "cpu", {})


def test_a_config_is_utf_8_whatever_the_locale_says(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "é"}}', encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from bench.runtimes._checkpoint import quantisation as read; "
        "print(ascii(read(Path(sys.argv[1]))))"
    )
    ours = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONPATH": str(REPOSITORY)}
    said = subprocess.check_output([sys.executable, "-c", code, tmp_path], env=ours, text=True)
    assert said == "{'quant_method': '\\xe9'}\n"
