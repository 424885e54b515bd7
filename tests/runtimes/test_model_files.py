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
from safetensors.torch import load_file, save_file

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
        "{% break %}", "{% for a in 'ab' %}" * 30 + "{% endfor %}" * 30, "{{ '\\ud800' }}",
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
    chat = {}
    for name, load in ENGINES.items():
        engine = load(model, Options(device="cpu"))
        assert engine.encode_chat("Hello")
        chat[name] = engine.reads().partition(";")[0]
    assert chat == {
        "transformers": "chat messages in its chat template",
        "numpy": "chat messages as plain text: the engine has no templates",
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("content", ["{}", "[]", "", "no JSON", '{"model": {"type": "BPE"}}'])
def test_a_tokenizer_that_is_none(model: Path, engine: str, content: str) -> None:
    (model / "tokenizer.json").write_text(content)
    with pytest.raises(VariantFailed) as caught:
        ENGINES[engine](model, Options(device="cpu")).encode("Hello")
    assert caught.value.reason.startswith(f"the tokenizer files in {model} cannot be read (")
    assert "\n" not in caught.value.reason


@pytest.mark.parametrize("engine", ENGINES)
def test_trained_weights_without_a_tokenizer(model: Path, engine: str) -> None:
    """One engine read bytes as tokens and compared their drift; bytes will do for random weights only."""
    for file in model.glob("*token*"):
        file.unlink()
    with pytest.raises(VariantFailed, match="there is no tokenizer beside the weights"):
        ENGINES[engine](model, Options(device="cpu")).encode("Hello")
    assert ENGINES[engine](model, Options(device="cpu", random=True)).encode("Hi") == [72, 105]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tokenizer_of_another_model(model: Path, engine: str) -> None:
    """Its tokens have no rows in the embeddings: an engine said IndexError, and a GPU would stop."""
    change(model / "config.json", vocab_size=40)
    tensors = load_file(model / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:40].clone()
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(VariantFailed, match=r"its token [0-9]+ \('.*'\) is beyond the model's vocabulary"):
        ENGINES[engine](model, Options(device="cpu")).encode("Hello")


@pytest.mark.parametrize("engine", ENGINES)
def test_what_stands_before_a_text_is_in_the_vocabulary_too(model: Path, engine: str) -> None:
    begin = {"id": "<s>", "ids": [99_999], "tokens": ["<s>"]}
    single = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    template = {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {"<s>": begin}}
    change(model / "tokenizer.json", post_processor=template)
    with pytest.raises(VariantFailed, match=r"its token 99999 .*is beyond the model's vocabulary of 4096"):
        ENGINES[engine](model, Options(device="cpu")).begin_ids()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("generation", "ends"), [({"eos_token_id": [5, 7]}, (5, 7)), ({}, (3,)), (None, (3,))], ids=str
)
def test_every_engine_ends_at_the_same_tokens(
    model: Path, engine: str, generation: dict[str, Any] | None, ends: tuple[int, ...]
) -> None:
    """One engine did not look into the generation config, and one looked nowhere else if there was one."""
    change(model / "config.json", eos_token_id=3)
    (model / "generation_config.json").unlink(missing_ok=True)
    if generation is not None:
        (model / "generation_config.json").write_text(json.dumps(generation))
    assert ENGINES[engine](model, Options(device="cpu")).end_ids() == ends


@pytest.mark.parametrize("engine", ENGINES)
def test_both_engines_read_the_same_files(model: Path, engine: str) -> None:
    """One read all files with the ending, and a stranger's file beside the weights changed its model."""
    before = ENGINES[engine](model, Options(device="cpu")).logits([1, 2, 3])
    stranger = {"model.norm.weight": torch.full((32,), 7.0)}
    save_file(stranger, model / "zz.safetensors", {"format": "pt"})
    assert torch.equal(ENGINES[engine](model, Options(device="cpu")).logits([1, 2, 3]), before)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"num_key_value_heads": 3}, "2 heads cannot share 3 keys of 16 numbers"),
        ({"num_attention_heads": 3, "num_key_value_heads": 2}, "3 heads cannot share 2 keys"),
        ({"head_dim": 15}, "2 heads cannot share 1 keys of 15 numbers, turned in pairs"),
        ({"intermediate_size": [48]}, r"intermediate_size is \[48\], not one size"),
        ({"num_key_value_heads": [1]}, r"num_key_value_heads is \[1\], not one size"),
    ],
)
def test_sizes_that_contradict_each_other(model: Path, keys: dict[str, Any], said: str) -> None:
    change(model / "config.json", **keys)
    with pytest.raises(VariantFailed, match=f"config.json: {said}"):
        numpy.load(model, Options(device="cpu"))
