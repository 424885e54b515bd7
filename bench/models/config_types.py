"""Check the JSON types of the keys of a model's files. Of a wrong one a loader speaks in Python's words, or
not at all.

Only keys that this package or the loaders read are here. A key that is absent or null is always fine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from bench.errors import UsageError
from bench.formatting import one_line
from bench.models.json_files import method_of

Test = Callable[[Any], bool]
SHOWN = 40  # letters of a value in a message
_TOKENIZER_FILE = re.compile(r"tokenizer(\.[0-9][0-9.]*)?\.json")
MOST_HEAD_DIM = 65_536  # of no model more; a cache is made before the weights are looked at
MOST_WHOLE = 2**40  # of what a loader counts, such as positions
MOST_NUMBER = 1e38  # what a float32 holds
MOST_ID = 2**31 - 1
# What the weights of a model are stored in or computed in. Whole numbers and complex ones are no weights, and
# float7 is none: a loader asks torch for it by name.
_DTYPE = re.compile(
    r"(torch\.)?(auto|float(16|32|64)?|bfloat16|half|double|float8_(e4m3fn|e4m3fnuz|e5m2|e5m2fnuz|e8m0fnu))"
)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= MOST_WHOLE


def _is_index(value: object) -> bool:
    return type(value) is int and 0 <= value <= MOST_WHOLE


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MOST_NUMBER  # NaN is not


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_block(value: object) -> bool:
    return isinstance(value, dict)


def _is_id(value: object) -> bool:
    return type(value) is int and abs(value) <= MOST_ID  # a negative one stands for none


def _is_ids(value: object) -> bool:
    return _is_id(value) or (isinstance(value, list) and all(map(_is_id, value)))


def _list_of(test: Test) -> Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _is_dtype(value: object) -> bool:
    if isinstance(value, dict):  # one for each part of a model that also sees or hears
        return all(isinstance(one, str) and _DTYPE.fullmatch(one) for one in value.values())
    return isinstance(value, str) and bool(_DTYPE.fullmatch(value))


def _is_token(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("content"), str))


def _is_template(value: object) -> bool:
    """One template, or several with their names."""
    if isinstance(value, list):
        return all(isinstance(one, dict) and _is_text(one.get("template")) for one in value)
    return isinstance(value, str)


COUNT = (_is_count, "a whole number above 0, up to 2^40")
COUNTS = (
    lambda value: _is_count(value) or _list_of(_is_count)(value),
    "a whole number above 0, or a list of them",
)
INDEX = (_is_index, "a whole number from 0 to 2^40")
NUMBER = (_is_number, "a number up to 1e38")
AT_LEAST_0 = (lambda value: _is_number(value) and value >= 0, "a number from 0 to 1e38")
ABOVE_0 = (lambda value: _is_number(value) and value > 0, "a number above 0, up to 1e38")
SHARE = (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
TEXT = (_is_text, "a text")
TEXTS = (_list_of(_is_text), "a list of texts")
FLAG = (_is_flag, "true or false")
BLOCK = (_is_block, "a block")
IDS = (_is_ids, "a token id, or a list of them")
DTYPE = (_is_dtype, "the name of a dtype such as float32")
TOKEN = (_is_token, "a token: a text, or a block with its content")
HEAD_DIM = (
    lambda value: _is_count(value) and value <= MOST_HEAD_DIM, f"a whole number from 1 to {MOST_HEAD_DIM}"
)  # fmt: skip
OPENED = "a loader would open the file that it names, wherever that is"
NO_NAME = (lambda value: not isinstance(value, str), f"the vocabulary itself: {OPENED}")
NO_SENTENCEPIECE = ("model_file", "model_proto", "enable_sampling")
Kind = tuple[Test, str]

# How packed weights say that they are packed; what is true of one method holds for no other.
PACKED: Mapping[str, Kind] = {
    "quant_method": TEXT, "modules_to_not_convert": TEXTS, "ignore": TEXTS, "activation_scheme": TEXT,
    "bits": COUNT, "weight_block_size": (
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)),
        "two whole numbers above 0",
    ),
}  # fmt: skip
BITSANDBYTES: Mapping[str, Kind] = {
    "load_in_4bit": FLAG, "load_in_8bit": FLAG, "_load_in_4bit": FLAG, "_load_in_8bit": FLAG,
    "bnb_4bit_quant_type": (lambda value: value in ("nf4", "fp4"), "nf4 or fp4"),
    "bnb_4bit_compute_dtype": DTYPE, "bnb_4bit_use_double_quant": FLAG,
    "bnb_4bit_quant_storage": (
        lambda value: value in ("uint8", "int8", "float16", "bfloat16", "float32", "float64"),
        "a dtype that holds packed weights, such as uint8",
    ),
    "llm_int8_threshold": NUMBER, "llm_int8_skip_modules": TEXTS, "llm_int8_has_fp16_weight": FLAG,
    "llm_int8_enable_fp32_cpu_offload": FLAG,
}  # fmt: skip

IDS_OF_TOKENS = {"eos_token_id": IDS, "bos_token_id": IDS, "pad_token_id": IDS}
ROPE: Mapping[str, Kind] = {
    "rope_type": TEXT, "type": TEXT, "rope_theta": ABOVE_0, "factor": ABOVE_0, "partial_rotary_factor": SHARE,
    "low_freq_factor": NUMBER, "high_freq_factor": NUMBER, "original_max_position_embeddings": COUNT,
    "attention_factor": NUMBER, "beta_fast": NUMBER, "beta_slow": NUMBER,
    "short_factor": (_list_of(_is_number), "a list of numbers"),
    "long_factor": (_list_of(_is_number), "a list of numbers"),
}  # fmt: skip
MODEL: Mapping[str, Kind] = {
    "architectures": TEXTS, "model_type": TEXT, "dtype": DTYPE, "torch_dtype": DTYPE, "hidden_act": TEXT,
    "hidden_activation": TEXT, "transformers_version": TEXT, "text_config": BLOCK, "vision_config": BLOCK,
    "audio_config": BLOCK, "rope_parameters": BLOCK, "rope_scaling": BLOCK, "rope_theta": ABOVE_0,
    "rms_norm_eps": AT_LEAST_0, "layer_norm_eps": AT_LEAST_0, "initializer_range": AT_LEAST_0,
    "attention_dropout": SHARE, "partial_rotary_factor": SHARE, "intermediate_size": COUNTS,
    "moe_intermediate_size": COUNTS, "num_key_value_heads": COUNTS, "head_dim": HEAD_DIM,
    "max_position_embeddings": COUNT, "sliding_window": INDEX, "max_window_layers": INDEX,
    "num_experts": INDEX, "num_local_experts": INDEX, "num_experts_per_tok": INDEX, "layer_types": TEXTS,
    "tie_word_embeddings": FLAG, "use_cache": FLAG, "use_sliding_window": FLAG, "attention_bias": FLAG,
    "mlp_bias": FLAG, "id2label": BLOCK, "label2id": BLOCK, "quantization_config": (
        lambda value: isinstance(value, dict) and names_a_method(value), "a block with a quant_method"
    ), **IDS_OF_TOKENS,
}  # fmt: skip
GENERATION: Mapping[str, Kind] = {
    "do_sample": FLAG, "use_cache": FLAG, "temperature": AT_LEAST_0, "top_p": SHARE, "top_k": NUMBER,
    "repetition_penalty": ABOVE_0, "max_length": COUNT, "max_new_tokens": COUNT, **IDS_OF_TOKENS,
}  # fmt: skip
TOKENIZER: Mapping[str, Kind] = {
    "model_max_length": NUMBER, "model_input_names": TEXTS, "tokenizer_class": TEXT, "padding_side": TEXT,
    "truncation_side": TEXT,
    "chat_template": (_is_template, "a text, or a list of blocks with a template"),
    "bos_token": TOKEN, "eos_token": TOKEN, "unk_token": TOKEN, "pad_token": TOKEN,
    "add_bos_token": FLAG, "add_eos_token": FLAG, "add_prefix_space": FLAG,
    "clean_up_tokenization_spaces": FLAG, "added_tokens_decoder": BLOCK, "split_special_tokens": FLAG,
    "vocab": NO_NAME, "merges": NO_NAME, "gguf_file": (lambda _value: False, f"null: {OPENED}"),
    "sp_model_kwargs": (
        lambda value: isinstance(value, dict) and not any(map(value.get, NO_SENTENCEPIECE)),
        f"a block without {', '.join(NO_SENTENCEPIECE)}, which would open a file or draw tokens at random",
    ),
    "init_inputs": (lambda value: value == [], "an empty list"),
    "fast_tokenizer_files": (
        lambda value: _list_of(_is_text)(value) and all(map(_TOKENIZER_FILE.fullmatch, value)),
        "a list of names such as tokenizer.4.0.0.json",
    ),
}  # fmt: skip
FILES: Mapping[str, Mapping[str, Kind]] = {
    "config.json": MODEL, "generation_config.json": GENERATION, "tokenizer_config.json": TOKENIZER,
    "special_tokens_map.json": TOKENIZER,  # what is in it is set as if it stood in the other
}  # fmt: skip


def check_types(file: object, name: str, config: Mapping[str, Any]) -> None:
    """Refuse a key of a model's file whose value is of a kind that no loader reads there.

    ``file`` is the path for messages, ``name`` the file's own name. Raises UsageError with the key, its value
    and what it should be.
    """
    _check(file, "", FILES.get(name, {}), config)


def _check(file: object, place: str, kinds: Mapping[str, Kind], config: Mapping[str, Any]) -> None:
    for key, (fits, words) in kinds.items():
        value = config.get(key)
        if value is None:
            continue
        if not fits(value):
            raise UsageError(f"{file}: {place}{key} is {one_line(repr(value)[:SHOWN])}, not {words}")
        if key == "text_config":
            _check(file, f"{place}{key}.", kinds, value)
        elif key == "quantization_config":
            _check_packed(file, f"{place}{key}.", value)
        elif key in ("rope_parameters", "rope_scaling"):
            _check(file, f"{place}{key}.", ROPE, value)
            for kind, block in value.items():  # one for each kind of layer
                if isinstance(block, dict):
                    _check(file, f"{place}{key}.{one_line(str(kind))[:SHOWN]}.", ROPE, block)


def names_a_method(packed: Mapping[str, Any]) -> bool:
    """Return whether a block says how weights are packed; bitsandbytes once wrote no ``quant_method``."""
    return isinstance(packed.get("quant_method"), str) or bool(
        packed.keys() & {"load_in_4bit", "load_in_8bit"}
    )


def _check_packed(file: object, place: str, packed: Mapping[str, Any]) -> None:
    """Refuse what a block of packed weights cannot say. Raises UsageError.

    One of bitsandbytes must say how many bits there are: without that a loader would take the packed numbers
    as weights.
    """
    _check(file, place, PACKED, packed)
    if (method := method_of(packed)) != "bitsandbytes":
        if flag := next((key for key in ("load_in_4bit", "load_in_8bit") if packed.get(key)), None):
            raise UsageError(
                f"{file}: {place}{flag} is of bitsandbytes, and quant_method is {one_line(method)[:SHOWN]}: "
                "remove one of them"
            )
        return
    _check(file, place, BITSANDBYTES, packed)
    four, eight = (packed.get(f"load_in_{bits}bit") or packed.get(f"_load_in_{bits}bit") for bits in (4, 8))
    if bool(four) == bool(eight):
        said = "both load_in_4bit and load_in_8bit" if four else "neither load_in_4bit nor load_in_8bit"
        raise UsageError(f"{file}: {place[:-1]} is of bitsandbytes and says {said}: say one of them")
