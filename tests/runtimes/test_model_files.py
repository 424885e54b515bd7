"""Model files whose types are right and that no engine can use: each engine says so in our words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bench.engine import Options
from bench.errors import Outcome, Unsupported, VariantFailed
from bench.runtimes import numpy
from bench.runtimes import transformers as runtime

ENGINES: dict[str, Callable[..., Any]] = {"numpy": numpy.load, "transformers": runtime.load}
TOKENIZER = Path(__file__).resolve().parents[2] / "models" / "tiny-gemma3"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("sound")
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, vocab_size=4096,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, path / name)
    return path


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def change(file: Path, **keys: Any) -> None:
    found = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not ...}))


def said_by(engine: str, model: Path) -> str:
    with pytest.raises((VariantFailed, Unsupported)) as caught:
        ENGINES[engine](model, Options(device="cpu"))
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size"])
def test_a_size_that_is_missing(model: Path, key: str) -> None:
    change(model / "config.json", **{key: ...})
    assert f"config.json has no {key}" in said_by("numpy", model)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "keys",
    [
        {"quantization_config": {"quant_method": "my-own-4bit"}},
        {"quantization_config": {"quant_method": "fp9", "bits": 4}},
    ],
)
def test_a_method_that_nobody_unpacks(model: Path, engine: str, keys: dict[str, Any]) -> None:
    change(model / "config.json", **keys)
    assert keys["quantization_config"]["quant_method"] in said_by(engine, model)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "keys",
    [
        {"model_type": "no-such-model"},
        {"rope_parameters": {"rope_type": "no-such-rotation"}},
        {"hidden_act": "no-such-function"},
    ],
    ids=str,
)
def test_names_that_nothing_has(model: Path, engine: str, keys: dict[str, Any]) -> None:
    change(model / "config.json", **keys)
    said = said_by(engine, model)
    assert said.partition(": ")[2].startswith(("transformers ", "the numpy engine ", "config.json: "))


@pytest.mark.parametrize(
    "template",
    [
        "{% if %}", "{{ a.b.c }}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}", "{{ messages[5].content }}",
        "{{ messages | no_such_filter }}", "{% for m in 5 %}{% endfor %}", "{{ messages + 1 }}", "{{",
        "{{ ''.__class__.__mro__ }}", "{% include 'x' %}", "{{ int('x') }}",
    ],
)  # fmt: skip
def test_a_chat_template_that_is_broken(model: Path, template: str) -> None:
    change(model / "tokenizer_config.json", chat_template=template)
    engine = runtime.load(model, Options(device="cpu"))
    with pytest.raises(VariantFailed) as caught:
        engine.encode_chat("Hello")
    assert caught.value.outcome == Outcome.LOAD_ERROR
    assert caught.value.reason.startswith("the model's chat template cannot be used (")
    assert "\n" not in caught.value.reason


def test_the_sound_model_loads_and_chats(model: Path) -> None:
    change(model / "tokenizer_config.json", chat_template="<{{ messages[0].content }}>")
    for load in ENGINES.values():
        assert load(model, Options(device="cpu")).encode_chat("Hello")
