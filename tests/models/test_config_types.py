"""Every key of a model's files that a loader reads, with every wrong JSON type: one sentence in our words."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.models.checks import PACKED_IN, SIZES, check_directory
from bench.models.config_types import FILES, MODEL, ROPE

ANY_JSON: tuple[Any, ...] = (
    True, 0, -1, 5, 0.5, -0.5, 1e9, "", "abc", "pickle.loads", "two\n::error::lines", [], [1], ["a"], [[]],
    [None], {}, {"a": 1}, {"a": {"b": []}},
)  # fmt: skip


def shard(dtype: str = "F32", size: int = 4) -> bytes:
    header = json.dumps({"w": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * size)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(shard())
    check_directory(tmp_path)
    return tmp_path


def refused(model: Path) -> str:
    with pytest.raises(UsageError) as caught:
        check_directory(model)
    return str(caught.value)


def wrong() -> Iterator[tuple[str, str, Any]]:
    for file, kinds in FILES.items():
        for key, (fits, _words) in kinds.items():
            yield from ((file, key, value) for value in ANY_JSON if not fits(value))


def test_each_key_has_right_and_wrong_values() -> None:
    for kinds in FILES.values():
        for fits, words in kinds.values():
            said = [fits(value) for value in ANY_JSON]
            assert any(said) or words.startswith(
                ("a token: a text", "the name of a dtype", "a text, or a list")
            )
            assert not all(said)


def test_every_wrong_type_is_a_sentence(model: Path) -> None:
    count = 0
    for file, key, value in wrong():
        (model / file).write_text(json.dumps({"model_type": "llama", key: value}))
        said = refused(model)
        assert f"{file}: {key} is " in said, (key, value, said)
        assert "\n" not in said
        assert len(said) < 400
        (model / file).write_text('{"model_type": "llama"}')
        count += 1
    assert count > 800


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("value", [value for value in ANY_JSON if type(value) is not int or value < 1])
def test_a_size_of_a_wrong_type(model: Path, key: str, value: object) -> None:
    (model / "config.json").write_text(json.dumps({key: value}))
    assert f"config.json: {key} is " in refused(model)


@pytest.mark.parametrize("key", ROPE)
@pytest.mark.parametrize("block", ["rope_parameters", "rope_scaling"])
def test_within_the_block_of_rotary_embedding(model: Path, block: str, key: str) -> None:
    for value in ({"a": 1}, [{}], True):
        for nested in ({key: value}, {"full_attention": {key: value}}):
            (model / "config.json").write_text(json.dumps({block: nested}))
            assert f"{key} is " in refused(model)


def test_within_the_config_of_the_text(model: Path) -> None:
    for key in MODEL:
        (model / "config.json").write_text(json.dumps({"text_config": {key: [[]]}}))
        assert f"config.json: text_config.{key} is [[]], not " in refused(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dtype", "torch.bfloat16"), ("dtype", "auto"), ("dtype", {"text_config": "float16"}),
        ("torch_dtype", "float8_e4m3fn"), ("eos_token_id", [1, 2]), ("eos_token_id", 0),
        ("eos_token_id", None),
        ("pad_token_id", -1), ("rope_theta", 10000), ("head_dim", 256), ("sliding_window", None),
        ("intermediate_size", [8, 16]), ("text_config", {"dtype": "float32"}), ("architectures", None),
        ("rope_scaling", {"type": "linear", "factor": 2.0}), ("layer_types", ["full_attention"]),
    ],
)  # fmt: skip
def test_what_models_have_stays(model: Path, key: str, value: object) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "llama", key: value}))
    check_directory(model)


def test_every_default_of_transformers_stays() -> None:
    """A config of each architecture that it has a causal language model for."""
    transformers = pytest.importorskip("transformers")
    auto = pytest.importorskip("transformers.models.auto.modeling_auto")
    from bench.models.config_types import check_types

    seen = 0
    for kind in list(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)[::8]:
        try:
            config = transformers.AutoConfig.for_model(kind)
        except Exception:  # noqa: BLE001 - one that cannot be made without settings of its own
            continue
        check_types(kind, "config.json", json.loads(config.to_json_string(use_diff=False)))
        seen += 1
    assert seen > 10


@pytest.mark.parametrize("method", PACKED_IN)
def test_plain_weights_that_a_config_calls_packed(model: Path, method: str) -> None:
    config = {"model_type": "llama", "quantization_config": {"quant_method": method}}
    (model / "config.json").write_text(json.dumps(config))
    said = refused(model)
    assert f"quant_method is {method}, and no tensor" in said
    assert "they are F32" in said
    for dtype in PACKED_IN[method]:
        (model / "model.safetensors").write_bytes(shard(dtype, 4 if dtype == "I32" else 1))
        check_directory(model)
