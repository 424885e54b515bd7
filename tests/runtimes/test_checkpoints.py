"""Checkpoints that were quantised before they came here: packed still when they have decoded, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench.errors import NotApplied, Unsupported
from bench.models.checks import check_directory
from bench.models.fetch import ensure
from bench.models.reference import Random
from bench.records import Loaded
from bench.worker import session


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
