"""Model directories and GGUF files that are broken or mean harm: one sentence each, in little time."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import pytest
from ggufs import gguf, text
from small_model import refused, shard, well

from bench.errors import UsageError
from bench.models import sizes
from bench.models.checks import check_directory
from bench.models.gguf_format import BLOCKS
from bench.models.gguf_header import check_gguf
from bench.models.patterns import slow_pattern
from bench.models.registry import ModelFile, all_models
from bench.models.safetensors_header import MAX_TENSORS, safetensors_header


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return well(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "merges.txt",
        "generation_config.json", "model.safetensors.index.json", "chat_template.jinja", "tokenizer.model",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["fifo", "directory", "loop", "device"])
def test_nothing_is_waited_for(model: Path, name: str, kind: str) -> None:
    place = model / name
    place.unlink(missing_ok=True)
    {
        "fifo": lambda: os.mkfifo(place),
        "directory": place.mkdir,
        "loop": lambda: place.symlink_to(name),
        "device": lambda: place.symlink_to("/dev/zero"),
    }[kind]()
    began = time.monotonic()
    said = refused(model)
    assert time.monotonic() - began < 2
    assert said.startswith(f"{place}: ")
    assert said.count("\n") == 0


def test_a_text_file_of_any_size(model: Path) -> None:
    for name, size in (("tokenizer.json", 300 << 20), ("chat_template.jinja", 5 << 20)):
        with (model / name).open("wb") as file:
            file.truncate(size)
        assert "is larger than" in refused(model)
        (model / name).unlink()


@pytest.mark.parametrize(
    "index",
    [
        [], {}, 5, {"weight_map": []}, {"weight_map": {"w": ["model.safetensors"]}},
        {"weight_map": {"w": {"a": 1}}},
    ],
)  # fmt: skip
def test_an_index_that_is_no_map_to_files(model: Path, index: object) -> None:
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    said = refused(model)
    assert "weight_map does not give a file for each tensor" in said or "not one JSON object" in said


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([2] * 17, "has a bad shape"),
        ([2**40] * 16, "byte range does not fit"),
        ([10**400], "has a bad shape"),
        ([2**63], "has a bad shape"),
        ([True], "has a bad shape"),
    ],
)
def test_a_shape_that_cannot_be(tmp_path: Path, shape: list[int], said: str) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(shard({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}}, bytes(8)))
    with pytest.raises(UsageError, match=said):
        safetensors_header(file)


def test_the_time_of_a_header_is_linear_in_it(tmp_path: Path) -> None:
    """1.7 MB that took 11 s: the product of half a million sizes."""
    file = tmp_path / "x.safetensors"
    file.write_bytes(shard({"w": {"dtype": "F32", "shape": [3] * 500_000, "data_offsets": [0, 8]}}, bytes(8)))
    began = time.monotonic()
    with pytest.raises(UsageError, match="has a bad shape"):
        safetensors_header(file)
    assert time.monotonic() - began < 2


def test_a_million_tensors(tmp_path: Path) -> None:
    entry = '"dtype":"F32","shape":[0],"data_offsets":[0,0]'
    text = "{" + ",".join(f'"{number:x}":{{{entry}}}' for number in range(MAX_TENSORS + 1)) + "}"
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text.encode())
    with pytest.raises(UsageError, match=f"{MAX_TENSORS + 1} tensors in one file"):
        safetensors_header(tmp_path / "x.safetensors")


def test_a_header_longer_than_any(tmp_path: Path) -> None:
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 90_000_000))
        file.truncate(100_000_000)
    with pytest.raises(UsageError, match="header length 90000000 does not fit"):
        safetensors_header(tmp_path / "x.safetensors")


# ---- GGUF ----------------------------------------------------------------------------------------


def said_of(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "x.gguf").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        check_gguf(tmp_path / "x.gguf")
    return str(caught.value).removeprefix(f"{tmp_path / 'x.gguf'}: ")


def test_sound_files(tmp_path: Path) -> None:
    values = [
        text("a") + struct.pack("<Iq", 11, -1),
        text("b") + struct.pack("<I", 8) + text("word"),
        text("c") + struct.pack("<IIQ", 9, 4, 3) + bytes(12),
        text("d") + struct.pack("<IIQ", 9, 8, 2) + text("x") + text("yy"),
        text("general.alignment") + struct.pack("<II", 4, 32),
    ]
    (tmp_path / "x.gguf").write_bytes(gguf(b"".join(values), len(values), data=32))
    check_gguf(tmp_path / "x.gguf")


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    whole = gguf(data=32)
    assert said_of(tmp_path, whole[:-1]).startswith("the file is cut short: its tensors need ")
    for length in range(24, len(whole) - 32 - 31, 7):
        assert said_of(tmp_path, whole[:length]) == "the file is cut short: it ends within its header"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a GGUF file"),
        (b"GGUF", "it ends within its header"),
        (gguf(version=1), "not believable"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "not believable"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0), "not believable"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**40), "not believable"),
        (gguf(text("a") + struct.pack("<I", 77), 1), "has an unknown type, 77"),
        (gguf(struct.pack("<Q", 2**60), 1), "a name of 1152921504606846976 bytes"),
        (gguf(text("a") + struct.pack("<IQ", 8, 2**60), 1), "it ends within its header"),
        (gguf(text("a") + struct.pack("<IIQ", 9, 10, 2**60), 1), "it ends within its header"),
        (
            gguf(text("a") + (struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 9, 1) * 9), 1),
            "holds arrays, which llama.cpp does not read",
        ),
        (gguf(text("general.alignment") + struct.pack("<II", 4, 0), 1), "general.alignment is 0"),
        (gguf(size=7, kind=2), "has sizes that cannot be"),
        (gguf(size=2**63), "has sizes that cannot be"),
        (gguf(size=2**40), "is cut short: its tensors need"),
    ],
)
@pytest.mark.bad_input(38)
def test_headers_that_cannot_be(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in said_of(tmp_path, content)


def test_an_array_without_end_costs_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    said_of(tmp_path, gguf(text("a") + struct.pack("<IIQ", 9, 8, 2**40), 1, data=200_000))
    assert time.monotonic() - began < 2


def test_the_sizes_are_those_of_the_library() -> None:
    constants = pytest.importorskip("gguf.constants")
    theirs = {int(kind): sizes for kind, sizes in constants.GGML_QUANT_SIZES.items()}
    assert {kind: theirs[kind] for kind in BLOCKS} == BLOCKS


def pair(key: str, kind: int, form: str, value: float) -> bytes:
    return text(key) + struct.pack("<I" + form, kind, value)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (pair("llama.block_count", 4, "I", 2_000_000), "block_count is 2000000, and the weights are of"),
        (pair("llama.block_count", 6, "f", 2.0), "'llama.block_count' is of type 6, not a whole number"),
        (text("llama.block_count") + struct.pack("<I", 8) + text("2"), "is of type 8, not a whole number"),
        (pair("llama.block_count", 7, "B", 1), "is of type 7, not a whole number"),
        (pair("llama.attention.head_count", 4, "I", 0), "'llama.attention.head_count' is 0, which no model"),
        (pair("llama.attention.head_count", 5, "i", -1), "is -1, which no model has"),
        (pair("llama.attention.head_count_kv", 4, "I", 0), "is 0, which no model has"),
        (pair("llama.feed_forward_length", 4, "I", 2**31), "is 2147483648, which no model has"),
        (pair("llama.context_length", 10, "Q", 2**63), "is 9223372036854775808, which no model has"),
        (pair("llama.rope.freq_base", 6, "f", float("nan")), "is nan, not a number above 0"),
        (pair("llama.rope.freq_base", 4, "I", 1), "is of type 4, not a number with a fraction"),
        (pair("llama.attention.layer_norm_rms_epsilon", 6, "f", 0.0), "is 0.0, not a number above 0"),
        (
            pair("llama.embedding_length", 4, "I", 500_000)
            + pair("llama.feed_forward_length", 4, "I", 10**6),
            "embedding_length 500000 and",
        ),
        (
            pair("x.embedding_length", 4, "I", 64) + pair("x.vocab_size", 4, "I", 10**6),
            "vocab_size 1000000",
        ),
    ],
)
def test_metadata_that_no_model_has(tmp_path: Path, metadata: bytes, said: str) -> None:
    count = 1 + (metadata.count(b"embedding_length") > 0)
    assert said in said_of(tmp_path, gguf(metadata, count))


def test_metadata_of_a_model_are_read_in_all_their_types(tmp_path: Path) -> None:
    sizes_of_layers = text("a.attention.head_count") + struct.pack("<IIQ", 9, 4, 2) + bytes(8)
    values = [
        pair("a.block_count", 10, "Q", 1), pair("a.embedding_length", 5, "i", 8), sizes_of_layers,
        pair("a.rope.freq_base", 12, "d", 10000.0), pair("a.expert_count", 4, "I", 0),
    ]  # fmt: skip
    (tmp_path / "x.gguf").write_bytes(gguf(b"".join(values), len(values)))
    assert check_gguf(tmp_path / "x.gguf") == 8


def test_many_texts_in_a_header(tmp_path: Path) -> None:
    """A sparse file has room for as many empty texts as anybody likes."""
    (tmp_path / "x.gguf").write_bytes(gguf(text("a") + struct.pack("<IIQ", 9, 8, 2**36), 1))
    with (tmp_path / "x.gguf").open("r+b") as file:
        file.truncate(2**40)
    began = time.monotonic()
    with pytest.raises(UsageError, match="arrays of 68719476736 texts in the header"):
        check_gguf(tmp_path / "x.gguf")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_hidden_layers": 10**7}, "num_hidden_layers is 10000000, which no model has"),
        ({"a" * 1000: {str(number): {} for number in range(1000)}, "auto_map": {}}, "auto_map: this key"),
        ({"a": [[]] * 600_000}, "more than 500000 lists and objects"),
        ({"x\n::error::y": {"auto_map": 1}}, r"config\\.json: x ::error::y\\.auto_map"),
    ],
    ids=["layers", "long keys", "lists", "a key of two lines"],
)
def test_configs_that_cost_or_speak(model: Path, config: dict[str, object], said: str) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    began = time.monotonic()
    with pytest.raises(UsageError, match=said.replace("\\\\", "\\")) as caught:
        check_directory(model)
    assert time.monotonic() - began < 2
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_other_files_that_bring_code(model: Path) -> None:
    (model / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.T", null]}}')
    assert "tokenizer_config.json: auto_map: this key" in refused(model)


@pytest.mark.parametrize("name", ["two\n::error::lines", "\ud800half", "\x1b[31m", "a\u2028b"])
def test_names_of_tensors_can_be_printed(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(
        shard({name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(8))
    )
    with pytest.raises(UsageError, match="has a name that cannot be printed") as caught:
        safetensors_header(tmp_path / "x.safetensors")
    assert str(caught.value).isprintable()


def test_metadata_is_text(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(shard({"__metadata__": {"a": []}}))
    with pytest.raises(UsageError, match="no map from text to text"):
        safetensors_header(tmp_path / "x.safetensors")


# ---- configs that do not fit their weights -------------------------------------------------------

LAYERS = {"model.layers.0.w": 0, "model.layers.1.w": 0}
FITTING = {
    "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "vocab_size": 100,
}  # fmt: skip


def with_config(model: Path, **keys: object) -> Path:
    header = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in LAYERS}
    (model / "model.safetensors").write_bytes(shard(header))
    (model / "config.json").write_text(json.dumps({**FITTING, **keys}))
    return model


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"hidden_size": 500_000}, "hidden_size 500000 .* make matrices of"),
        ({"num_hidden_layers": 3}, "num_hidden_layers is 3, and the weights are of 2 layers"),
        ({"text_config": {"num_hidden_layers": 10**9}}, r"text_config\.num_hidden_layers is 1000000000"),
        ({"text_config": {"hidden_size": 10**6}}, r"text_config\.hidden_size 1000000"),
        (
            {"vision_config": {"hidden_size": 10**4, "intermediate_size": 10**5}},
            r"vision_config\.hidden_size",
        ),
        ({"intermediate_size": 10**8}, "intermediate_size 100000000 make matrices"),
        ({"vocab_size": 9_999_999}, "vocab_size 9999999 make matrices"),
        ({"num_experts": 10**9, "moe_intermediate_size": 16}, "num_experts 1000000000"),
        ({"num_local_experts": 10**6}, "num_local_experts 1000000 and intermediate_size 16"),
        ({"num_key_value_heads": 10**9}, "num_key_value_heads 1000000000"),
        ({"head_dim": 10**9}, "head_dim is 1000000000"),
        ({"n_positions": 10**12}, "n_positions 1000000000000"),
        ({"q_lora_rank": 10**9}, "q_lora_rank 1000000000"),
        ({"q_lora_rank": 10**400}, "q_lora_rank 100000.* make matrices of 1e.300 weights"),
        ({"num_attention_heads": 10**400}, "num_attention_heads is 10000"),
        ({"vocab_size_per_layer_input": 10**9}, "vocab_size_per_layer_input 1000000000"),
    ],
)
def test_sizes_that_the_weights_do_not_have(model: Path, keys: dict[str, object], said: str) -> None:
    """A loader makes modules of these sizes before it looks at the weights: 2.5 GB beside 100 kB."""
    check_directory(with_config(model))
    with pytest.raises(UsageError, match=rf"config\.json: .*{said}") as caught:
        check_directory(with_config(model, **keys))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ({}, "hidden_size"),
        ({"num_hidden_layers": 1}, "hidden_size"),
        ({"hidden_size": 8}, "num_hidden_layers"),
        ({"hidden_size": 8, "text_config": {"n_layer": 1}}, None),
        ({"text_config": {"d_model": 8, "layer_types": ["mamba"]}}, None),
    ],
)
def test_sizes_that_a_config_does_not_name(
    model: Path, config: dict[str, object], missing: str | None
) -> None:
    """The loader took those of a Llama of 27 GB."""
    (model / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    if missing is None:
        check_directory(model)
    else:
        assert refused(model).endswith(f"no {missing}: a loader would make a model of its own default size")


@pytest.mark.parametrize("card", all_models(), ids=lambda card: card.name)
def test_the_sizes_of_every_known_model_fit_its_weights(
    card: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if every weight were packed into two bits, and without the allowance for small models."""
    monkeypatch.setattr(sizes, "ALWAYS_WEIGHTS", 0)
    layers = card.architecture.layers
    assert sizes.misfit(card.config, sizes.Weights(card.architecture.parameters, layers)) is None


# ---- names of modules ----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["llm_int8_skip_modules", "modules_to_not_convert", "ignore"])
@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?:[a-z_.0-9]+)+!", "repeats a group"),
        ("(a*)*b", "repeats a group"),
        ("(a|a){20,}b", "repeats a group"),
        (r"(a+)\1\1!", "repeats a group"),
        (".*" * 6 + "!", "so many wildcards"),
        ("(a|a)" * 40 + "!", "so many wildcards and choices"),
        ("a?" * 40 + "a" * 40, "so many wildcards and choices"),
        ("a{0,9}" * 9, "so many wildcards"),
        ("x" * 301, "has 301 letters"),
    ],
)
def test_names_of_modules_that_take_for_ever_to_match(model: Path, key: str, pattern: str, said: str) -> None:
    packed = {"quant_method": "bitsandbytes", "load_in_8bit": True, key: ["lm_head", pattern]}
    for config in ({"quantization_config": packed}, {"text_config": {"quantization_config": packed}}):
        (model / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
        assert said in refused(model)


@pytest.mark.parametrize(
    "pattern",
    [
        "lm_head", "model.layers.10.mlp.gate", "re:.*lm_head", "re:.*self_attn.(q|k|v|o)_proj$",
        "re:visual.*", r"-:model\.layers\.[0-9]+\.mlp\..*", "re:.*mlp.experts.*(gate|up|down)_proj.*",
        r"re:(?:model\.)?language_model.*",
    ],
)  # fmt: skip
def test_names_of_modules_that_published_checkpoints_have(pattern: str) -> None:
    assert slow_pattern({"quantization_config": {"quant_method": "x", "ignore": [pattern]}}) is None


def test_more_names_than_modules(model: Path) -> None:
    packed = {"quant_method": "fp8", "modules_to_not_convert": ["a"] * 10_001}
    (model / "config.json").write_text(json.dumps({"model_type": "llama", "quantization_config": packed}))
    assert "holds more than 10000 texts" in refused(model)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "file.gguf"])
def test_a_pointer_of_git_lfs_is_called_one(name: str, model: Path) -> None:
    (model / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(UsageError, match=rf"{name}: is a pointer of Git LFS.*`git lfs pull`"):
        check_gguf(model / name) if name.endswith(".gguf") else check_directory(model)


def test_the_time_to_look_for_code_is_linear(model: Path) -> None:
    """Ninety blocks in each other, all called an implementation, wrote what was in them ninety times."""
    text = json.dumps(["x" * 50] * 600_000)
    for _ in range(90):
        text = f'{{"a_implementation": {text}}}'
    (model / "tokenizer_config.json").write_text(text)
    began = time.process_time()
    check_directory(model)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("block", [{"": "someone/kernel"}, {"text_config": "a:b"}, [["x/y"]]])
def test_an_implementation_for_each_part(model: Path, block: object) -> None:
    (model / "config.json").write_text(json.dumps({"attn_implementation": block}))
    assert "config.json: attn_implementation" in refused(model)


@pytest.mark.parametrize("size", [0, 7])
def test_a_file_without_room_for_a_header(model: Path, size: int) -> None:
    (model / "model.safetensors").write_bytes(b"x" * size)
    assert f"not a sound safetensors file: it has {size} bytes, too few for a header" in refused(model)


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt"])
def test_pickles_beside_weights_that_no_loader_looks_for(model: Path, pickle: str) -> None:
    """A loader that is not told to use safetensors would unpickle the others."""
    (model / pickle).write_bytes(b"never read")
    check_directory(model)
    (model / "model.safetensors").rename(model / "mine.safetensors")
    assert f"they would take the pickled weights ({pickle})" in refused(model)
    (model / pickle).unlink()
    check_directory(model)
