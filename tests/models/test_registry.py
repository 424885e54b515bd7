"""Model files: every rule checked, every complaint with its line, every shipped file consistent."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest

from bench.cli.model_pages import rows
from bench.data_paths import data_directories
from bench.errors import ConfigError, UsageError
from bench.models.registry import ModelFile, all_models, find_model, model_directories
from bench.models.shrink import Size

GOOD = """\
description: a test model
licence: Apache-2.0
homepage: https://example.org/model
source:
  package:
    distribution: some-model
    version: 1.0.0
    wheel_bytes: 1000
    sha256: {sha}
    member: some_model/weights.gguf
    member_sha256: {sha}
architecture:
  parameters: 1000
  layers: 2
  hidden_size: 64
  attention_heads: 4
  kv_heads: 2
  head_dim: 16
  intermediate_size: 128
  vocabulary: 512
  context: 1024
  tied_embeddings: false
config:
  model_type: llama
  num_hidden_layers: 2
""".format(sha="ab" * 32)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def complaint(models: Path, text: str) -> ConfigError:
    (models / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        find_model("mine")
    return caught.value


def test_a_good_file_is_read_whole(models: Path) -> None:
    (models / "mine.yaml").write_text(GOOD)
    model = find_model("mine")
    assert (model.name, model.file.name, model.architecture.layers) == ("mine", "mine.yaml", 2)
    assert model.source is not None
    assert model.source.package is not None
    assert model.source.package.version == "1.0.0"


def test_the_working_directory_comes_first(models: Path) -> None:
    assert model_directories()[0] == models.resolve()
    (models / "tiny-llama.yaml").write_text(GOOD)
    assert find_model("tiny-llama").description == "a test model"


def test_data_directories_lists_only_what_exists(models: Path) -> None:
    assert data_directories("no-such-kind") == ()
    assert all(path.is_dir() for path in data_directories("models"))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'smollm2-135m'"):
        find_model("smolm2-135")


@pytest.mark.parametrize("name", ["../models/tiny-llama", "/etc/passwd", "", "\x1b[31mred"])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(UsageError, match="no model called") as caught:
        find_model(name)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "hint"),
    [
        ("licence:", "license:", "license", "licence"),
        ("    distribution:", "    distributon:", "source.package.distributon", "distribution"),
        ("    version:", "    of_grid: true\n    version:", "source.package.of_grid", "off_grid"),
        ("  kv_heads:", "  kv_head:", "architecture.kv_head", "kv_heads"),
    ],
)
def test_a_typo_names_its_line_and_the_nearest_key(
    models: Path, old: str, new: str, key: str, hint: str
) -> None:
    text = GOOD.replace(old, new)
    error = complaint(models, text)
    assert (error.key, error.problem, error.hint) == (key, "unknown key", f"did you mean {hint!r}?")
    assert error.line == text[: text.index(new.strip())].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("layers: 2\n  hidden", "layers: '2'\n  hidden", "architecture.layers"),
        ("context: 1024", "context: 0", "architecture.context"),
        ("tied_embeddings: false", "tied_embeddings: no", "architecture.tied_embeddings"),
        ("    sha256: ab", "    sha256: XX", "source.package.sha256"),
        ("member: some_model/", "member: ../some_model/", "source.package.member"),
        ("member: some_model/", "member: /some_model/", "source.package.member"),
        ("distribution: some", "distribution: --index-url=some", "source.package.distribution"),
        ("version: 1.0.0", "version: '1.0 @ file:x'", "source.package.version"),
        ("    version:", "    off_grid: yes please\n    version:", "source.package.off_grid"),
        ("homepage: https", "homepage: javascript", "homepage"),
        ("  model_type: llama\n", "", "config"),
        ("  model_type: llama", "  model_type: llama\n  auto_map: {A: b}", "config.auto_map"),
        ("description:", "name: other\ndescription:", "name"),
        ("source:\n", "source:\n  hub: {repo: a/b, revision: " + "a" * 40 + "}\n", "source"),
        ("source:\n", "source:\n  directory: {path: mine, sha256: " + "ab" * 32 + "}\n", "source"),
        ("description: a test model\n", "", "description"),
    ],
)
def test_a_wrong_value_names_its_key(models: Path, old: str, new: str, key: str) -> None:
    assert old in GOOD
    assert complaint(models, GOOD.replace(old, new)).key == key


@pytest.mark.parametrize("revision", ["main", "v1.0", "a" * 39, "A" * 40, "g" * 40])
def test_a_revision_is_a_commit(models: Path, revision: str) -> None:
    package = re.search(r"source:\n(?: .*\n)+", GOOD)
    assert package
    hub = f"source:\n  hub: {{repo: some/model, revision: {revision}}}\n"
    error = complaint(models, GOOD.replace(package[0], hub))
    assert error.key == "source.hub.revision"
    assert "40 hex digits" in error.problem


def with_directory(path: str, sha256: str = "ab" * 32) -> str:
    package = re.search(r"source:\n(?: .*\n)+", GOOD)
    assert package
    return GOOD.replace(package[0], f"source:\n  directory: {{path: {path}, sha256: {sha256}}}\n")


def test_a_directory_beside_the_file_is_a_source(models: Path) -> None:
    (models / "mine.yaml").write_text(with_directory("mine-1.5"))
    source = find_model("mine").source
    assert source is not None
    assert source.directory is not None
    assert (source.kind, source.directory.path) == ("directory", "mine-1.5")


@pytest.mark.parametrize(
    "path", ["..", ".", "/etc", "../mine", "a/b", "'a\\b'", "''", "~", '"a\\0b"', "-x", "Mine"]
)
def test_a_directory_is_one_plain_name(models: Path, path: str) -> None:
    assert complaint(models, with_directory(path)).key == "source.directory.path"


def test_a_directory_needs_a_digest(models: Path) -> None:
    assert complaint(models, with_directory("mine", "XX")).key == "source.directory.sha256"


def test_a_size_can_be_overridden(models: Path) -> None:
    (models / "mine.yaml").write_text(GOOD + "  layer_types: [full_attention, sliding_attention]\n")
    model = find_model("mine")
    assert model.sized(Size()) == model
    shallow = model.sized(Size(layers=1)).config
    assert (shallow["num_hidden_layers"], shallow["layer_types"]) == (1, ["full_attention"])
    for layers in (0, -1, 1001):
        with pytest.raises(UsageError, match="1 to 1000"):
            model.sized(Size(layers=layers))


@pytest.mark.parametrize(
    "name",
    ["smollm2-135m", "qwen3-0.6b", "llama-3.1-8b-shape", "tiny-llama", "tiny-gemma3", "tiny-qwen3-moe"],
)
def test_shipped_models_are_there(name: str) -> None:
    assert name in {model.name for model in all_models()}


def number(model: ModelFile, key: str) -> int:
    value = model.config[key]
    assert isinstance(value, int)
    return value


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.name)
def test_facts_agree_with_the_config(model: ModelFile) -> None:
    facts = model.architecture
    assert facts.layers == number(model, "num_hidden_layers")
    assert facts.hidden_size == number(model, "hidden_size")
    assert facts.attention_heads == number(model, "num_attention_heads")
    heads = model.config.get("num_key_value_heads", model.config["num_attention_heads"])
    assert facts.kv_heads == heads
    assert facts.head_dim == model.config.get("head_dim", facts.head_dim)
    assert facts.intermediate_size == number(model, "intermediate_size")
    assert facts.vocabulary == number(model, "vocab_size")
    assert facts.context == number(model, "max_position_embeddings")
    assert facts.tied_embeddings == model.config.get("tie_word_embeddings", True)


PLAIN = [model for model in all_models() if model.config["model_type"] in ("llama", "mistral", "qwen3")]


@pytest.mark.parametrize("model", PLAIN, ids=lambda model: model.name)
def test_parameters_are_what_the_shape_adds_up_to(model: ModelFile) -> None:
    """Llama: q, k, v, o, three of the MLP, two norms a layer. Qwen3 and Gemma 3 also norm each head's q and
    k, and Gemma 3 has two more norms a layer."""
    facts = model.architecture
    kind = str(model.config["model_type"])
    attention = facts.hidden_size * facts.head_dim * 2 * (facts.attention_heads + facts.kv_heads)
    mlp = 3 * facts.hidden_size * facts.intermediate_size
    if kind == "qwen3_moe":  # every layer; and a row of the router for each expert
        expert = 3 * facts.hidden_size * number(model, "moe_intermediate_size")
        mlp = number(model, "num_experts") * (expert + facts.hidden_size)
    norms = facts.hidden_size * (4 if kind == "gemma3_text" else 2)
    norms += 2 * facts.head_dim if kind in ("qwen3", "qwen3_moe", "gemma3_text") else 0
    embeddings = facts.vocabulary * facts.hidden_size * (1 if facts.tied_embeddings else 2)
    assert facts.parameters == facts.layers * (attention + mlp + norms) + embeddings + facts.hidden_size


def test_a_directory_of_that_name_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError,
        match=r"no model called 'mine' \(for the directory .* write \{path: mine\}, .* step \./mine\)",
    ):
        find_model("mine")


def test_a_file_of_another_program_is_in_the_way_of_its_own_name_only(models: Path) -> None:
    """A directory called ``models`` is common: what lies there may be no model of ours."""
    known = [model.name for model in all_models()]
    (models / "yolov5s.yaml").write_text("nc: 80\ndepth_multiple: 0.33\n")
    (models / "Not A Name.yaml").write_text(GOOD)
    assert [model.name for model in all_models()] == known
    shown = {name: about for name, *_, about in rows()}
    assert "cannot be read" in shown["yolov5s"]
    assert "Not A Name.yaml" in shown["Not A Name"]
    with pytest.raises(ConfigError, match="unknown key"):
        find_model("yolov5s")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("hidden_size: 64\n  num_attention_heads: 99999999999", "num_attention_heads is 99999999999, which"),
        ("rope_theta: -1", "rope_theta is -1, not a number above 0"),
        ("architectures: 5", "architectures is 5, not a list of texts"),
        ("num_labels: 1000000000", "num_labels is 1000000000, which no model has"),
    ],
)
def test_the_config_of_a_card_is_looked_at_as_that_of_a_model(models: Path, more: str, said: str) -> None:
    error = complaint(models, f"{GOOD}  {more}\n")
    assert said in str(error)
    assert error.key == "config"


@pytest.mark.parametrize(
    "more",
    [
        "attn_layer_indices: [a]", "hybrid_override_pattern: 1\n  attention_bias: []", "architectures: []",
        "vocab_size: 512\n  pad_token_id: [null]", "per_layer_config: {a: 1}", "n_heads: 9999999999999",
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_made_smaller_is_a_sentence(models: Path, more: str) -> None:
    """One of them was made smaller for ever, the others ended with a traceback."""
    (models / "mine.yaml").write_text(f"{GOOD}  hidden_size: 64\n  {more}\n")
    with suppress(UsageError):  # whatever else is raised is a fault of ours
        assert find_model("mine").sized(Size(layers=1, hidden=32)).architecture.layers == 1
