"""Every key of a model's files that a loader reads, with every wrong JSON type: one sentence in our words."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import small_model
from small_model import SIZED, refused, well

from bench.models.checks import PACKED_BESIDE, PACKED_IN, SIZES, WHOLE, check_directory
from bench.models.config_types import FILES, MODEL, ROPE
from bench.models.safetensors_header import ELEMENT_BITS

ANY_JSON: tuple[Any, ...] = (
    True, 0, -1, 5, 0.5, -0.5, 1e9, "", "abc", "pickle.loads", "two\n::error::lines", [], [1], ["a"], [[]],
    [None], {}, {"a": 1}, {"a": {"b": []}},
)  # fmt: skip


def shard(dtype: str = "F32", size: int = 4, name: str = "w", shape: Sequence[int] = (2,)) -> bytes:
    entry = {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 2 * size]}
    return small_model.shard({name: entry}, bytes(2 * size))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return well(tmp_path)


def wrong() -> Iterator[tuple[str, str, Any]]:
    for file, kinds in FILES.items():
        for key, (fits, _words) in kinds.items():
            yield from ((file, key, value) for value in ANY_JSON if not fits(value))


def test_each_key_has_right_and_wrong_values() -> None:
    for kinds in FILES.values():
        for fits, words in kinds.values():
            said = [fits(value) for value in ANY_JSON]
            assert any(said) or words.startswith(
                (
                    "a token: a text",
                    "the name of a dtype",
                    "a text, or a list",
                    "a block with a quant_method",
                    "null: a loader",
                    "a list of names such as",
                )
            )
            assert not all(said)


def test_every_wrong_type_is_a_sentence(model: Path) -> None:
    count = 0
    for file, key, value in wrong():
        (model / file).write_text(json.dumps({**SIZED, key: value}))
        said = refused(model)
        assert f"{file}: {key} is " in said, (key, value, said)
        assert "\n" not in said
        assert len(said) < 400
        (model / file).write_text('{"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1}')
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
    (model / "config.json").write_text(json.dumps({**SIZED, key: value}))
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
    packed = {"quant_method": method, **({"load_in_4bit": True} if method == "bitsandbytes" else {})}
    (model / "config.json").write_text(json.dumps({**SIZED, "quantization_config": packed}))
    said = refused(model)
    assert f"quant_method is {method}, and no tensor" in said
    assert "they are F32" in said
    for dtype in PACKED_IN[method]:
        size = 4 if dtype == "I32" else 1
        (model / "model.safetensors").write_bytes(shard(dtype, size))
        assert "so nothing says what the packed numbers stand for" in refused(model)
        for beside in PACKED_BESIDE[method]:
            (model / "model.safetensors").write_bytes(shard(dtype, size, name=f"w.{beside}"))
            check_directory(model)


@pytest.mark.parametrize(
    "block",
    [
        {"text_config": {"quantization_config": {"quant_method": "gptq"}}},
        {"quantization_config": {"load_in_8bit": True}},
    ],
)
def test_plain_weights_that_a_config_calls_packed_in_other_words(model: Path, block: dict[str, Any]) -> None:
    """transformers looks for the method in the config of the text, too; bitsandbytes once wrote none."""
    (model / "config.json").write_text(json.dumps({**SIZED, **block}))
    assert "and no tensor of the weights is" in refused(model)


BITS = {"quant_method": "bitsandbytes", "load_in_4bit": True}


@pytest.mark.parametrize("nested", [False, True], ids=["config", "text_config"])
@pytest.mark.parametrize(
    ("packed", "said"),
    [
        ({"load_in_4bit": "yes"}, "load_in_4bit is 'yes', not true or false"),
        ({"load_in_8bit": 1}, "load_in_8bit is 1, not true or false"),
        ({"load_in_4bit": None}, "says neither load_in_4bit nor load_in_8bit"),
        ({"quant_method": "bitsandbytes"}, "says neither"),
        ({"quant_method": "bitsandbytes_4bit"}, "says neither"),
        ({"quant_method": None, "load_in_4bit": True, "load_in_8bit": True}, "says both"),
        (
            {"quant_method": "mxfp8", "load_in_4bit": True},
            "load_in_4bit is of bitsandbytes, and quant_method is mxfp8: remove one",
        ),
        ({"quant_method": "bitsandbytes", "bitsandbytes": {"load_in_4bit": True}}, "says neither"),
        ({**BITS, "load_in_8bit": True}, "says both"),
        ({**BITS, "bnb_4bit_quant_type": "evil"}, "bnb_4bit_quant_type is 'evil', not nf4 or fp4"),
        ({**BITS, "bnb_4bit_compute_dtype": "float7"}, "bnb_4bit_compute_dtype is 'float7'"),
        ({**BITS, "bnb_4bit_compute_dtype": "load"}, "bnb_4bit_compute_dtype is 'load'"),
        ({**BITS, "bnb_4bit_quant_storage": "uint9"}, "bnb_4bit_quant_storage is 'uint9'"),
        ({**BITS, "bnb_4bit_use_double_quant": "no"}, "bnb_4bit_use_double_quant is 'no'"),
        ({**BITS, "llm_int8_threshold": "6"}, "llm_int8_threshold is '6'"),
        ({**BITS, "llm_int8_skip_modules": [1, None]}, "llm_int8_skip_modules is "),
        ({"quant_method": "fp8", "weight_block_size": [0, 0]}, "weight_block_size is [0, 0]"),
        ({"quant_method": "gptq", "bits": "4"}, "bits is '4'"),
        ({"quant_method": ["fp8"]}, "quantization_config is {'quant_method': ['fp8']}"),
    ],
)
def test_a_block_of_packed_weights_that_cannot_be(
    model: Path, packed: dict[str, Any], said: str, nested: bool
) -> None:
    block = {"quantization_config": packed}
    (model / "config.json").write_text(json.dumps({"text_config": block} if nested else block))
    assert said in refused(model)


@pytest.mark.parametrize("dtype", ["float7", "int8", "complex64", "torch.load", "torch.", "float4", "bool"])
def test_a_dtype_that_no_weights_have(model: Path, dtype: str) -> None:
    (model / "config.json").write_text(json.dumps({"dtype": dtype}))
    assert f"dtype is '{dtype}'" in refused(model)


@pytest.mark.parametrize("dtype", sorted(WHOLE))
def test_whole_numbers_in_the_place_of_weights(model: Path, dtype: str) -> None:
    """A loader made weights of packed numbers, and the row was measured."""
    size = ELEMENT_BITS[dtype] // 8
    (model / "model.safetensors").write_bytes(shard(dtype, size, "a.weight", [2, 1]))
    assert f"a.weight is {dtype}, and config.json has no quantization_config" in refused(model)
    (model / "model.safetensors").write_bytes(shard(dtype, size, "a.position_ids", [1, 2]))
    check_directory(model)


@pytest.mark.parametrize(("dtype", "size"), [("F4", 1), ("F6_E2M3", 3), ("F8_E8M0", 2), ("C64", 16)])
def test_what_is_no_weight_by_itself(model: Path, dtype: str, size: int) -> None:
    shape = [2 * size, 1] if dtype == "F4" else [size * 8 // ELEMENT_BITS[dtype], 1]
    entry = {"a.weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps(entry).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    assert f"a.weight is {dtype}, and config.json has no quantization_config" in refused(model)


@pytest.mark.parametrize(
    "key", ["num_labels", "decoder_layers", "n_layers", "num_blocks", "num_nextn_predict_layers"]
)
@pytest.mark.parametrize("place", ["", "text_config", "vision_config"])
def test_what_a_loader_makes_a_list_of(model: Path, key: str, place: str) -> None:
    """A billion labels filled the memory before the weights were looked at."""
    block = {key: 10**9}
    (model / "config.json").write_text(json.dumps({place: block} if place else block))
    assert f"{key} is 1000000000, which no model has" in refused(model)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1e39", "1" + "0" * 400])
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("config.json", "rope_theta"), ("config.json", "rms_norm_eps"), ("config.json", "attention_dropout"),
        ("generation_config.json", "temperature"), ("tokenizer_config.json", "model_max_length"),
    ],
)  # fmt: skip
def test_numbers_that_nothing_computes_with(model: Path, file: str, key: str, number: str) -> None:
    """JSON has no NaN, and Python reads one; a whole number may have thousands of digits."""
    (model / file).write_text(f'{{"{key}": {number}}}')
    assert f"{file}: {key} is " in refused(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rope_theta", 0), ("rope_theta", -1.0), ("rms_norm_eps", -1e-5), ("attention_dropout", 5),
        ("partial_rotary_factor", 7), ("initializer_range", -1), ("max_position_embeddings", 2**62),
        ("sliding_window", 10**30), ("eos_token_id", 10**30), ("eos_token_id", [1, 2**40]),
        ("rope_parameters", {"rope_theta": 0}), ("rope_parameters", {"rope_type": "linear", "factor": -2.0}),
    ],
)  # fmt: skip
def test_numbers_that_no_model_has(model: Path, key: str, value: object) -> None:
    for block in ({key: value}, {"text_config": {key: value}}):
        (model / "config.json").write_text(json.dumps(block))
        assert f"{key}" in refused(model)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gguf_file", "/etc/passwd"), ("vocab", "/dev/zero"), ("merges", "../m.txt"), ("init_inputs", ["x"]),
        ("fast_tokenizer_files", ["../tokenizer.4.json"]), ("fast_tokenizer_files", ["/tokenizer.4.json"]),
        ("auto_map", {"AutoTokenizer": ["evil.T", None]}), ("sp_model_kwargs", {"model_file": "/etc/passwd"}),
        ("sp_model_kwargs", {"enable_sampling": True}),
    ],
)  # fmt: skip
def test_a_tokenizer_names_no_other_files(model: Path, file: str, key: str, value: object) -> None:
    """They were opened, wherever they were, and waited for if they were FIFOs."""
    (model / file).write_text(json.dumps({key: value}))
    assert f"{file}: {key}" in refused(model)


@pytest.mark.parametrize("number", [10_000_000, 2**31, 10**30])
def test_an_id_that_no_vocabulary_has(model: Path, number: int) -> None:
    """A loader made room for each number below it, and Rust ended the process (SIGABRT)."""
    for file, vocabulary in (
        ("vocab.json", {"a": 0, "b\u202e": number}),
        ("tokenizer.json", {"model": {"type": "WordLevel", "vocab": {"a": number}}}),
    ):
        (model / file).write_text(json.dumps(vocabulary))
        assert f"has the number {number}, which no vocabulary has" in refused(model)
        (model / file).write_text(json.dumps({"model": {"vocab": {'": 123456789': 9_999_999}}}))
        check_directory(model)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b64encode(b"\xff\xff\xff\xff" + bytes(40)).decode(), "claims a part of 4294967295 bytes"),
        ("/////w==", "claims a part of 4294967295 bytes"),
        (b64encode(b"\xff\xff\xff\x7f" + bytes(40)).decode().replace("/", r"\/"), "claims a part of"),
        ("é", "is no base64"),
    ],
)
def test_a_map_of_characters_that_is_longer_than_its_file(model: Path, text: str, said: str) -> None:
    """A loader asked for the memory at once, and Rust ended the process (SIGABRT)."""
    whole = b64encode(b"\x08\0\0\0" + bytes(12)).decode()
    for value, right in ((text, False), (whole, True), ("", True)):
        quoted = value if "\\" in value else json.dumps(value)[1:-1]
        (model / "tokenizer.json").write_text(f'{{"normalizer": {{"precompiled_charsmap" : "{quoted}"}}}}')
        if right:
            check_directory(model)
        else:
            assert said in refused(model)


def test_names_of_files_that_published_tokenizers_have(model: Path) -> None:
    named = {
        "fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json"], "vocab_file": "/away/vocab.json",
        "tokenizer_file": None, "init_inputs": [], "sp_model_kwargs": {},
        "special_tokens_map_file": "special_tokens_map.json",
    }  # fmt: skip
    (model / "tokenizer_config.json").write_text(json.dumps(named))
    check_directory(model)
