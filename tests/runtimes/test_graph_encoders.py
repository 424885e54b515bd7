"""Encoders as graphs in ONNX Runtime and OpenVINO beside transformers, in the environments of these engines.

Run there by the first test; here, without the packages, the others are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from engines import run_there, saved, sizes, told
from tiny_encoders import write_encoder, write_letters

from bench import plugins
from bench.engine import Options
from bench.errors import Unsupported
from bench.runtimes import _transformers_encoder
from bench.runtimes._traced_encoder import exported
from bench.worker import session

ENGINES = {"onnxruntime": "onnx-int8-dynamic", "openvino": "openvino-int8"}
HERE = [name for name in ENGINES if not plugins.missing_packages(plugins.load("runtimes", name))]
TEXTS = ("a short one", "this text has some more words in it, so the other one is padded", "z")
every_engine = pytest.mark.parametrize("name", HERE)
POOLINGS = ("mean_tokens", "cls_token", "lasttoken")


@pytest.mark.skipif(bool(HERE), reason="this is the environment of an engine")
@pytest.mark.parametrize("name", ENGINES)
def test_in_the_environment_of_the_engine(name: str) -> None:
    run_there(name, __file__)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Graphs of toys are not for keeping."""
    with pytest.MonkeyPatch.context() as patch:
        if HERE:
            patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_each_way_to_trace_a_graph_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: set[str] = set()
    monkeypatch.setattr("bench.models.disk_cache.fill", lambda key, _make: keys.add(key) or tmp_path)
    (tmp_path / "config.json").write_text("{}")
    ways = [{}, {"attention": "eager"}, {"dtype": "bfloat16"}, {"task": "classification"}]
    for way in ways:
        exported(tmp_path, Options(**{"task": "embedding", **way}), "onnx", (), "model.onnx")
    assert len(keys) == len(ways)


def load(
    name: str, path: Path, *steps: tuple[str, str], task: str = "embedding", attention: str = "sdpa"
) -> Any:
    options = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": attention, "random": False}
    return session.load(
        {
            "directory": str(path), "runtime": plugins.load("runtimes", name).ENCODER, "step_by_step": True,
            "options": {**options, "task": task}, "optimise": [told(*step, {}) for step in steps],
        }
    )  # fmt: skip


def encoded(engine: Any, *texts: str) -> torch.Tensor:
    return torch.tensor(engine.encoded(engine.prefill([engine.read(text) for text in texts], 1)))


def reference(path: Path, task: str = "embedding") -> Any:
    return _transformers_encoder.load(path, Options(device="cpu", threads=1, task=task))


@every_engine
@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_transformers(tmp_path: Path, name: str, pooling: str) -> None:
    """Of a padded batch and of texts of other lengths than that with which the graph was traced."""
    path = write_encoder(tmp_path, pooling={f"pooling_mode_{pooling}": True})
    engine, found = load(name, path)
    wanted = encoded(reference(path), *TEXTS)
    assert torch.allclose(encoded(engine, *TEXTS), wanted, atol=1e-4)
    assert torch.allclose(torch.cat([encoded(engine, text) for text in TEXTS]), wanted, atol=1e-4)
    assert (found.facts.dtype, found.facts.threads, found.facts.context) == ("float32", 1, 64)
    assert len(engine.census().matrices) >= 12


@every_engine
def test_an_encoder_is_traced_with_the_attention_that_is_asked_for(tmp_path: Path, name: str) -> None:
    """Some encoders have no sdpa attention in transformers: one engine told them to take eager, and refused
    it."""
    path = write_encoder(tmp_path, pooling={"pooling_mode_mean_tokens": True})
    engine, found = load(name, path, attention="eager")
    assert torch.allclose(encoded(engine, *TEXTS), encoded(reference(path), *TEXTS), atol=1e-4)
    assert found.facts.attention == "eager"


@every_engine
def test_logits_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    path = write_encoder(tmp_path, head="AutoModelForSequenceClassification", num_labels=3)
    engine, _found = load(name, path, task="classification")
    assert torch.allclose(
        encoded(engine, *TEXTS), encoded(reference(path, "classification"), *TEXTS), atol=1e-4
    )


@every_engine
def test_eight_bits(tmp_path: Path, name: str) -> None:
    """Of a model whose embedding has more weights than all its layers, as that of MiniLM."""
    path = write_encoder(tmp_path, pooling={"pooling_mode_mean_tokens": True}, vocab_size=2000)
    engine, _found = load(name, path, ("quantise", ENGINES[name]))
    cosines = (encoded(engine, *TEXTS) * encoded(reference(path), *TEXTS)).sum(-1)
    assert 0.98 < float(cosines.min()) < 1 - 1e-7


@every_engine
def test_a_model_with_a_mask_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    """A graph of a decoder would see later tokens, and its vectors would be those of another model."""
    saved(transformers.LlamaConfig(**sizes(64)), tmp_path)
    write_letters(tmp_path)
    with pytest.raises(Unsupported, match="would compute something else"):
        load(name, tmp_path)
