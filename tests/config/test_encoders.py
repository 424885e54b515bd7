"""Encoders in a config: how they are recognised, and what is refused because they write no text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_encoders import MEAN_NORMALISED, write_encoder

from bench.config.encoders import labels_of, task_of
from bench.config.reader import read_config
from bench.errors import ConfigError
from bench.models.reference import Hub, LocalPath, Named, Random
from bench.models.registry import find_model


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"), pooling=MEAN_NORMALISED)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {0: "bad", 1: "good"}
    head = "AutoModelForSequenceClassification"
    return write_encoder(tmp_path_factory.mktemp("classifier"), head=head, num_labels=2, id2label=names)


@pytest.mark.parametrize(
    ("config", "modules", "task"),
    [
        ({"model_type": "bert", "architectures": ["BertModel"]}, False, "embedding"),
        ({"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"]}, False, "embedding"),
        ({"model_type": "mpnet"}, False, "embedding"),
        ({"architectures": ["DistilBertForSequenceClassification"]}, False, "classification"),
        ({"architectures": ["LlamaForSequenceClassification"]}, False, "classification"),
        ({"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True}, False, None),
        ({"model_type": "roberta", "architectures": ["RobertaForCausalLM"]}, False, None),
        ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, False, None),
        ({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, True, "embedding"),
    ],
)  # fmt: skip
def test_the_checkpoint_says_what_it_is_for(
    tmp_path: Path, config: dict[str, Any], modules: bool, task: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if modules:
        (tmp_path / "modules.json").write_text("[]")
    assert task_of(LocalPath(tmp_path), find_model) == task


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({"1": "b", "0": "a"}, ("a", "b")), ({}, ()), ({"9" * 5000: "a"}, ()), ({"²": "a"}, ()),
        ({"-1": "a"}, ()),
    ],
)  # fmt: skip
def test_the_labels_of_a_config_that_anybody_may_have_written(
    tmp_path: Path, names: dict[str, str], labels: tuple[str, ...]
) -> None:
    """Python makes no number of 5,000 digits, and of ² none at all."""
    (tmp_path / "config.json").write_text(json.dumps({"id2label": names}))
    assert labels_of(LocalPath(tmp_path), find_model) == labels


def test_cards_and_repositories() -> None:
    assert task_of(Random("bge-small-en-v1.5"), find_model) == "embedding"
    assert task_of(Named("smollm2-135m"), find_model) is None
    assert task_of(Hub("a/b", "0" * 40), find_model) is None


def read(tmp_path: Path, model: Path, **more: Any) -> Any:
    config = {"model": {"path": str(model)}, "runtime": {"device": "cpu"}, **more}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return read_config(file)


def test_every_row_has_its_task_and_the_file_stays_as_it_was(tmp_path: Path, encoder: Path) -> None:
    spec = read(
        tmp_path, encoder, variants=[{"name": "int8", "optimise": [{"quantise": "torch-int8-dynamic"}]}]
    )
    assert [arm.runtime.task for arm in spec.groups[0].arms] == ["embedding", "embedding"]
    assert spec.groups[0].baseline.runtime.to_json()["task"] == "embedding"
    assert "task" not in yaml.safe_load(spec.expanded)["runtime"]


@pytest.mark.parametrize("engine", ["transformers", "onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("modules.json", [{"type": "a.Dense"}], "modules.json has a step Dense, which is not known here"),
        ("modules.json", [{"type": "a.Pooling", "path": "2_Pooling"}], "has its Pooling in '2_Pooling'"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "asks for max, and only mean"),
        ("config_sentence_transformers.json", {"default_prompt_name": "q"}, "no text for its default prompt"),
        ("config_sentence_transformers.json", {"similarity_fn_name": "hers"}, "compares vectors by 'hers'"),
    ],
)
def test_what_an_encoder_would_refuse_after_loading(
    tmp_path: Path, encoder: Path, engine: str, file: str, content: Any, words: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(encoder, model)
    read(tmp_path, model, runtime={"name": engine})
    (model / file).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=words) as caught:
        read(tmp_path, model, runtime={"name": engine})
    assert caught.value.key == "model"


def test_the_pooling_of_a_classifier_is_not_judged(tmp_path: Path, classifier: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(classifier, model)
    (model / "modules.json").write_text('[{"type": "a.Dense"}]')
    read(tmp_path, model)


def test_a_model_that_writes_has_no_task(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model: {random: tiny-llama}\n")
    assert "task" not in read_config(file).groups[0].baseline.runtime.to_json()


VARIANT = {"name": "other"}


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({"runtime": {"name": "llama-cpp"}}, "runtime.name", "llama-cpp runs models that write text"),
        (
            {"workload": {"output_tokens": 8}},
            "workload.output_tokens",
            "does nothing for baseline, whose model is an encoder (embedding)",
        ),
        (
            {"workload": {"name": "reasoning", "output_tokens": 64}},
            "workload.name",
            "baseline, an encoder, writes nothing",
        ),
        (
            {"optimise": [{"speculate": "prompt-lookup"}]},
            "optimise[0]",
            "prompt-lookup is for models that",
        ),
        (
            {"optimise": [{"quantise": "kv-quanto"}]},
            "optimise[0]",
            "kv-quanto is for models that write",
        ),
        ({"optimise": [{"prune": "depth", "keep_layers": 1}]}, "optimise[0]", "prune depth is for models"),
        ({"drift": {"suites": ["factuality"]}}, "drift.suites", "every row is an encoder"),
        ({"drift": {"statistics": ["reverse-kl"]}}, "drift.statistics", "every row is an encoder"),
        ({"drift": {"window": 64}}, "drift.window", "every row is an encoder"),
        ({"drift": {"items": "nowhere.jsonl"}}, "drift.items", "nowhere.jsonl"),
        (
            {"variants": [{**VARIANT, "model": {"random": "tiny-llama"}}]},
            "variants[0].model",
            "writes text, and",
        ),
        ({"gate": {"kld_mean": {"max": 0.1}}, "variants": [VARIANT]}, "gate.kld_mean", "has no such figure"),
        ({"gate": {"tpot_ms": {"max": 1.0}}, "variants": [VARIANT]}, "gate.tpot_ms", "has no such figure"),
        (
            {"gate": {"label_flips": {"max": 0.1}}, "variants": [VARIANT]},
            "gate.label_flips",
            "does not measure",
        ),
    ],
)
def test_what_needs_a_model_that_writes_is_refused(
    tmp_path: Path, encoder: Path, config: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, encoder, **config)
    assert (caught.value.key, words in caught.value.problem) == (key, True), caught.value
    assert caught.value.line is not None


@pytest.mark.parametrize(
    ("top", "words"),
    [
        (
            {"workload": {"output_tokens": 8}},
            "workload.output_tokens: does nothing for vectors, whose model is",
        ),
        (
            {"workload": {"name": "reasoning", "output_tokens": 64}},
            "workload.name: 'reasoning' is about what a model writes, and vec",
        ),
        (
            {"runtime": {"name": "numpy"}},
            "runtime.name: numpy runs models that write text, and that of vectors",
        ),
        ({"optimise": [{"quantise": "kv-float8"}]}, "models that write text, and vectors is an encoder"),
    ],
)
def test_the_row_that_takes_over_a_key_is_named(
    tmp_path: Path, encoder: Path, top: dict[str, Any], words: str
) -> None:
    """At the top of the file the key is right for the baseline, which writes."""
    variant = {"name": "vectors", "model": {"path": str(encoder)}}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"model": {"random": "tiny-llama"}, **top, "variants": [variant]}))
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert words in str(caught.value)


def test_limits_on_vectors_and_on_labels(tmp_path: Path, encoder: Path, classifier: Path) -> None:
    limits = {"cosine_mean": {"min": 0.99}, "cost_per_1k_tokens_usd": {"max_increase": "3%"}}
    assert read(tmp_path, encoder, gate=limits, variants=[VARIANT]).gate
    assert read(tmp_path, classifier, gate={"label_flips": {"max": 0.01}}, variants=[VARIANT]).gate
    with pytest.raises(ConfigError, match="this run does not measure it"):
        read(tmp_path, classifier, gate={"label_accuracy_change": {"min": 0}}, variants=[VARIANT])


def test_only_an_encoder_has_a_cosine(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("model: smollm2-135m\nvariants: [{name: a}]\ngate: {cosine_mean: {min: 0.9}}\n")
    with pytest.raises(ConfigError, match="this run does not measure it") as caught:
        read_config(file)
    assert caught.value.line == 3


def test_labels_of_a_file_are_those_of_the_model(tmp_path: Path, classifier: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"text": "x", "label": "awful"}\n')
    with pytest.raises(ConfigError, match="'awful' is none of the model's"):
        read(tmp_path, classifier, drift={"items": str(file)})


def test_an_encoder_cannot_draft(tmp_path: Path, encoder: Path) -> None:
    file = tmp_path / "config.yaml"
    step = f"[{{speculate: draft-model, model: {encoder}}}]"
    file.write_text(f"model: {{random: tiny-llama}}\nvariants: [{{name: a, optimise: {step}}}]\n")
    with pytest.raises(ConfigError, match="is an encoder, which writes no text"):
        read_config(file)
