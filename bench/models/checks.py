"""Refuse model files that could run code, and those that no loader can read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.formatting import one_line, printable
from bench.models.config_types import check_types
from bench.models.files import TEXT_MAX_BYTES, check_files
from bench.models.json_files import CONFIG_MAX_BYTES, json_object, method_of, packing
from bench.models.patterns import slow_pattern
from bench.models.safetensors_header import TensorEntry
from bench.models.shards import check_shards, read_headers
from bench.models.sizes import BITS_MIN, Weights, misfit, unnamed
from bench.models.tokenizer_sizes import check_tokenizers
from bench.models.weight_files import INDEX, weight_files
from bench.models.weight_files import WHOLE as WHOLE_FILE

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
ADAPTER = "adapter_config.json"
NAMES_CODE = ("auto_map", "trust_remote_code", "transformers_weights")
# Further files of which a loader reads keys such as these.
MORE_CONFIGS = (
    "tokenizer_config.json", "generation_config.json", "processor_config.json", "special_tokens_map.json",
)  # fmt: skip
MOST_SHOWN = 200
# What a decoder cannot be without, where a config names it, and of what no model has more:
# a loader would make that many modules before it looks at the weights.
SIZES = {
    "num_hidden_layers": 2_000, "n_layer": 2_000, "vocab_size": 10_000_000, "hidden_size": 1_000_000,
    "num_attention_heads": 100_000, "n_head": 100_000,
}  # fmt: skip
# What a loader makes a list of before it looks at the weights, such as a name for each label.
COUNTED, MOST_COUNTED = re.compile(r"(^|_)(layers?|blocks?|labels|depth)$"), 100_000
# The dtypes of which a packed checkpoint has at least one tensor, for methods that always store it so.
_FLOAT8 = frozenset({"F8_E4M3", "F8_E5M2"})
PACKED_IN = {
    "fp8": _FLOAT8, "fbgemm_fp8": _FLOAT8, "gptq": frozenset({"I32"}), "awq": frozenset({"I32"}),
    "bitsandbytes": frozenset({"U8", "I8"}), "mxfp4": frozenset({"U8"}),
}  # fmt: skip
WHOLE = frozenset({"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
# Two or more packed in a byte, scales alone, and what would lose its imaginary part.
NO_WEIGHTS = frozenset({"F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "C64"})
# What stands beside packed numbers: without their scales a loader takes them as they are.
PACKED_BESIDE = {
    "fp8": ("scale",), "fbgemm_fp8": ("scale",), "gptq": ("scales",), "awq": ("scales",),
    "bitsandbytes": ("absmax", "SCB"), "mxfp4": ("scales",),
}  # fmt: skip
_Place = tuple[()] | tuple[str, Any]  # a key, and the place that holds it


def code_in_config(config: object) -> str | None:
    """Return the first config key, as a dotted path, that could make the loader run foreign code.

    These are ``auto_map`` and ``trust_remote_code`` at any depth, an implementation of attention or experts
    that is fetched from elsewhere (a name with a slash or a colon), and ``transformers_weights``, which names
    other weights than those that are checked here. Other keys, private ones too, name no code: transformers
    writes some of them itself.
    """
    todo: list[tuple[_Place, object, bool]] = [((), config, False)]
    while todo:
        place, value, foreign = todo.pop()
        items: Iterable[tuple[object, object]] = value.items() if isinstance(value, Mapping) else ()
        if isinstance(value, list):
            items = ((f"[{index}]", inner) for index, inner in enumerate(value))
        for key, inner in items:
            here = (str(key), place)
            implements = foreign or "_implementation" in str(key)
            if isinstance(value, Mapping) and key in NAMES_CODE:
                return _dotted(here)
            if isinstance(inner, Mapping | list):
                todo.append((here, inner, implements))
            elif implements and re.search(r"[/:]", str(inner)[:MOST_SHOWN]):
                return _dotted(here)
    return None


def _dotted(place: _Place) -> str:
    """Write a place for people; it is kept as a chain, so that it costs nothing unseen."""
    parts: list[str] = []
    while place:
        part, place = place
        parts.append(part)
    return one_line(".".join(reversed(parts)).replace(".[", "["))[:MOST_SHOWN]


def check_config(path: Path, most_bytes: int = CONFIG_MAX_BYTES) -> None:
    """Refuse a config that is too large, is not a JSON object, has sizes that cannot be, or asks for foreign
    code."""
    check_content(path, path.name, json_object(path, most_bytes))


def check_content(path: object, name: str, config: Mapping[str, Any]) -> None:
    """Refuse the content of a config, wherever it stands: ``path`` is what messages call it, ``name`` is the
    name of such a file. Raises UsageError."""
    for key, most in SIZES.items():
        size = config.get(key, 1)
        if type(size) is not int or size < 1:
            raise UsageError(f"{path}: {key} is {str(size)[:30]!r}, not a whole number above 0")
        if size > most:
            raise UsageError(f"{path}: {key} is {str(size)[:30]}, which no model has")
    for place, block in (("", config), *((f"{key}.", value) for key, value in config.items())):
        for key, size in block.items() if isinstance(block, Mapping) else ():
            if type(size) is int and size > MOST_COUNTED and COUNTED.search(str(key)[-MOST_SHOWN:]):
                where = printable(f"{place}{key}")[:MOST_SHOWN]
                raise UsageError(f"{path}: {where} is {str(size)[:30]}, which no model has")
    check_types(path, name, config)
    if slow := slow_pattern(config):
        raise UsageError(f"{path}: {printable(slow)}")
    if named := code_in_config(config):
        raise UsageError(
            f"{path}: {named}: this key can make the loader run code that came with the model; "
            "use weights in a format the engine knows, or remove the key after reading what it names"
        )


def check_more_configs(directory: Path) -> None:
    """Refuse a further config beside weights, or beside an adapter, as ``check_config`` does."""
    for name in MORE_CONFIGS:
        if (directory / name).exists():
            check_config(directory / name, TEXT_MAX_BYTES)
    check_tokenizers(directory)


def check_directory(directory: Path) -> None:
    """Refuse a model directory without ``config.json`` and sound safetensors, all shards included.

    Pickled weights are refused, because unpickling can run any code that they name.
    """
    check_config(directory / "config.json")
    check_files(directory)
    check_more_configs(directory)
    if (directory / ADAPTER).exists():
        raise UsageError(
            f"{directory / ADAPTER}: an adapter beside the weights would not be applied; merge it into them "
            "(peft: merge_and_unload, save_pretrained), or remove it"
        )
    weights = sorted(directory.glob("*.safetensors"))
    pickles = sorted(f.name for f in directory.glob("*") if f.suffix in PICKLES)
    if not weights and pickles:
        raise UsageError(
            f"{directory}: only pickled weights ({one_line(pickles[0])}), which can run code when they are "
            "loaded; load them once where that is safe and save_pretrained() them as safetensors"
        )
    if not weights:
        raise UsageError(f"{directory}: no *.safetensors in it")
    if pickles and not any(os.path.lexists(directory / name) for name in (WHOLE_FILE, INDEX)):
        raise UsageError(
            f"{directory}: none of its safetensors is called as loaders look for them ({WHOLE_FILE}): they "
            f"would take the pickled weights ({one_line(pickles[0])}), which can run code; rename some"
        )
    _check_weights(directory, weights)


def _check_weights(directory: Path, weights: Sequence[Path]) -> None:
    """Refuse weights that do not agree with each other, with their index or with the config.

    Only those that are loaded: nobody reads an index beside a whole file, or files that it does not name.
    """
    config, index = directory / "config.json", directory / INDEX
    sizes, by_file = json_object(config), read_headers(weights)
    read = WHOLE_FILE not in by_file and os.path.lexists(index)
    listed = json_object(index, TEXT_MAX_BYTES) if read else None
    packed = packing(sizes)
    check_shards(directory, by_file, listed, packed=bool(packed))
    headers = [by_file[path.name] for path in weight_files(directory)]
    stored = {one.dtype for header in headers for one in header.values()}
    _check_packed(config, packed, stored, [name for header in headers for name in header])
    if not packed:
        _check_floats(directory, headers)
    size = sum(tensor.end - tensor.begin for header in headers for tensor in header.values())
    names = (name for header in headers for name in header)
    if missing := unnamed(sizes):
        raise UsageError(f"{config}: no {missing}: a loader would make a model of its own default size")
    if said := misfit(sizes, Weights.of(names, size * 8 // BITS_MIN)):
        raise UsageError(f"{config}: {printable(said)}")


def _check_packed(config: Path, block: Mapping[str, Any], stored: Set[str], names: Sequence[str]) -> None:
    """Refuse plain weights that the config calls packed: a loader would run them as they are, and the row
    would have the name of a scheme that was never applied."""
    method = method_of(block) if block else None
    packed = PACKED_IN.get(str(method))
    if packed is not None and not stored & packed:
        raise UsageError(
            f"{config}: quant_method is {method}, and no tensor of the weights is "
            f"{' or '.join(sorted(packed))} (they are {', '.join(sorted(stored))}): remove "
            "quantization_config, or pack the weights"
        )
    beside = PACKED_BESIDE.get(str(method), ())
    if beside and not any(part in name for name in names for part in beside):
        raise UsageError(
            f"{config}: quant_method is {method}, and no tensor has {' or '.join(beside)} in its name, so "
            "nothing says what the packed numbers stand for"
        )


def _check_floats(directory: Path, headers: Sequence[Mapping[str, TensorEntry]]) -> None:
    """Refuse whole numbers in the place of weights where no ``quantization_config`` says how they are packed:
    a loader would take the packed numbers for weights. So it would with parts of complex numbers."""
    for header in headers:
        for name, tensor in header.items():
            if name.endswith(".weight") and tensor.dtype in WHOLE | NO_WEIGHTS:
                raise UsageError(
                    f"{directory}: {printable(name)[:MOST_SHOWN]} is {tensor.dtype}, and config.json has no "
                    "quantization_config that says how to unpack it"
                )
