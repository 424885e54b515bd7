"""The models that a config may name, and those that are refused before anything is loaded."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from config_files import Write, changed, refusal
from ggufs import gguf
from small_model import SIZED

from bench.config import models
from bench.config.reader import read_config
from bench.errors import ConfigError
from bench.models.gguf_parts import check_model
from bench.models.reference import Hub, LocalPath, Named, Random
from bench.yaml_source import YamlSource

COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"
pytestmark = pytest.mark.usefixtures("cpu_machine")


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("smollm2-135m", Named("smollm2-135m")),
        (f"{{hub: Qwen/Qwen3-0.6B, revision: {COMMIT}}}", Hub("Qwen/Qwen3-0.6B", COMMIT)),
        ("{random: tiny-llama}", Random("tiny-llama", None)),
        ("{random: tiny-llama, layers: 5}", Random("tiny-llama", 5)),
        ("{random: tiny-llama, layers: null}", Random("tiny-llama")),
        ("{random: deepseek-r1, layers: 4, hidden: 256, experts: 16}", Random("deepseek-r1", 4, 256, 16)),
    ],
)
def test_ways_to_name_a_model(write: Write, text: str, model: object) -> None:
    assert read_config(write(changed("{random: tiny-llama}", text))).groups[0].baseline.model == model


def model_directory(path: Path, **config: object) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**SIZED, **config}))
    (path / "tokenizer.json").write_text("{}")
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return path


def test_a_model_of_your_own(write: Write, tmp_path: Path) -> None:
    own = model_directory(tmp_path / "own")
    spec = read_config(write(changed("{random: tiny-llama}", f"{{path: {own}}}")))
    assert spec.groups[0].baseline.model == LocalPath(own)


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("smollm2-135", "model", "did you mean 'smollm2-135m'?"),
        ("<script>alert(1)</script>", "model", "no model called"),
        ("'</script><img onerror=x>'", "model", "no model called"),
        ("'[red]x[/]'", "model", "no model called"),
        (f"'{'m' * 5000}'", "model", "no model called"),
        ("3", "model", "not a model"),
        ("[smollm2-135m]", "model", "not a model"),
        ("{}", "model", "not a model"),
        ("{layers: 3}", "model", "not a model"),
        (f"{{revision: {COMMIT}}}", "model", "not a model"),
        ("{hub: a/b, path: c}", "model", "not a model"),
        ("{hub: Qwen/Qwen3-0.6B}", "model.revision", "40 hex digits"),
        ("{hub: Qwen/Qwen3-0.6B, revision: main}", "model.revision", "40 hex digits"),
        (f"{{hub: Qwen/Qwen3-0.6B, revision: {COMMIT[:12]}}}", "model.revision", "40 hex digits"),
        (f"{{hub: Qwen/Qwen3-0.6B, revision: {COMMIT.upper()}}}", "model.revision", "40 hex digits"),
        (f"{{hub: ../../etc, revision: {COMMIT}}}", "model.hub", "OWNER/NAME"),
        (f"{{hub: --upload-pack=x/y, revision: {COMMIT}}}", "model.hub", "OWNER/NAME"),
        (f"{{hub: [a/b], revision: {COMMIT}}}", "model.hub", "should be text"),
        ("{random: tiny-lama}", "model.random", "did you mean 'tiny-llama'?"),
        ("{random: tiny-llama, layers: 0}", "model.layers", "from 1 to 1000, not 0"),
        ("{random: tiny-llama, layers: 2.0}", "model.layers", "not 2.0"),
        ("{random: tiny-llama, layers: true}", "model.layers", "not True"),
        ("{random: tiny-llama, hidden: 250}", "model.hidden", "a multiple of 16 from 32 to 65536, not 250"),
        ("{random: tiny-llama, hidden: wide}", "model.hidden", "not 'wide'"),
        ("{random: tiny-llama, experts: 4}", "model.experts", "this model has no experts"),
        ("{random: gpt-oss-20b, experts: 3}", "model.experts", "at least 4, since each token goes through 4"),
        ("{path: ., hidden: 64}", "model", "not a model"),
        ("{path: no/such/directory}", "model.path", "no model directory"),
        ("{path: /dev/zero}", "model.path", "no model directory"),
        ("{path: 3}", "model.path", "should be text"),
        (f"{{path: {'d' * 300}}}", "model.path", "File name too long"),
    ],
)  # fmt: skip
@pytest.mark.bad_input(24, 25, 39)
def test_a_model_is_refused(write: Write, model: str, key: str, words: str) -> None:
    error = refusal(write(changed("{random: tiny-llama}", model)))
    assert (error.line, error.key) == (2, key)
    assert words in str(error)


@pytest.mark.parametrize(
    "config",
    [{"auto_map": {}}, {"_attn_implementation_internal": "x/y"}, {"text": {"trust_remote_code": True}}],
)
@pytest.mark.bad_input(37)
def test_a_model_config_that_could_run_code(write: Write, tmp_path: Path, config: dict[str, object]) -> None:
    own = model_directory(tmp_path / "own", **config)
    error = refusal(write(changed("{random: tiny-llama}", f"{{path: {own}}}")))
    assert (error.line, error.key) == (2, "model.path")
    assert "run code" in str(error)


@pytest.mark.bad_input(36, 38)
def test_a_model_directory_without_sound_weights(write: Write, tmp_path: Path) -> None:
    own = model_directory(tmp_path / "own")
    text = changed("{random: tiny-llama}", f"{{path: {own}}}")
    (own / "model.safetensors").write_bytes(b"\xff" * 40)
    assert "not a sound safetensors file" in str(refusal(write(text)))
    (own / "model.safetensors").rename(own / "model.bin")
    assert "pickled weights" in str(refusal(write(text)))
    bad = tmp_path / "x.gguf"
    bad.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1))
    assert "GGUF header" in str(refusal(write(changed("{random: tiny-llama}", f"{{path: {bad}}}"))))


@pytest.mark.parametrize("engine", ["transformers", "numpy", "onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("architectures", 5), ("model_type", ["llama"]), ("text_config", 1), ("dtype", "pickle.loads"),
     ("rope_parameters", [1]), ("eos_token_id", {"a": 1}), ("head_dim", 1e9)],
)  # fmt: skip
def test_a_model_s_config_of_a_wrong_type_is_seen_by_check_for_each_engine(
    write: Write, tmp_path: Path, engine: str, key: str, value: object
) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", key: value}))
    text = changed("{random: tiny-llama}", f"{{path: {directory}}}")
    error = refusal(write(text.replace("device: cpu", f"device: cpu\n  name: {engine}")))
    assert f"config.json: {key} is " in str(error)


def test_a_gguf_file_is_read_once_for_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header of a model of today takes a second, and each of a thousand rows read it."""
    file, source = tmp_path / "x.gguf", YamlSource("x.yaml", {}, {})
    file.write_bytes(gguf())
    read: list[Path] = []
    monkeypatch.setattr(models, "check_model", lambda place: [read.append(place), check_model(place)][1])
    for _ in range(3):
        assert models._sound_path(source, file, ("model", "path")) == file
    assert read == [file]
    file.write_bytes(gguf()[:-80])
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"x\.gguf"):
            models._sound_path(source, file, ("model", "path"))
