"""Check and merge LoRA adapters of peft: a directory with adapter_config.json and adapter_model.safetensors.

An adapter is merged into a copy of its base, ``W + scale · B A`` (Hu et al. 2021, arXiv 2106.09685) with
``scale = alpha / r``, or ``alpha / √r`` with rank-stabilised LoRA (arXiv 2312.03732). Every engine then reads
a plain checkpoint. What this formula does not cover is refused, and never left out.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import Explained, UsageError
from bench.formatting import printable
from bench.machine.proc import be_killed_first
from bench.models.checks import ADAPTER, check_directory, check_more_configs
from bench.models.child import of_libraries, reported
from bench.models.files import check_files, copy_files, model_files
from bench.models.json_files import json_object, packing
from bench.models.safetensors_header import safetensors_header
from bench.models.weight_files import INDEX, WHOLE, weight_files

RECIPE = 3  # part of the cache key: raise it when the same adapter is merged differently
WEIGHTS = "adapter_model.safetensors"
_BY_PEFT = "merge it with peft (merge_and_unload, save_pretrained) and name the result"
_PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
# Settings that say nothing about what is computed once training is over.
_HARMLESS = frozenset({
    "auto_mapping", "base_model_name_or_path", "revision", "peft_version", "task_type", "inference_mode", "r",
    "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "use_rslora", "layers_to_transform",
    "layers_pattern", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_core",
    "qalora_group_size", "fan_in_fan_out",  # peft sets the last by the class of the layer, whatever it is
})  # fmt: skip
# Some initialisations change the base as well (PiSSA, OLoRA, LoftQ); these do not.
_KNOWN: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",), "bias": ("none", None),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}  # fmt: skip
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})  # others are packed, and nothing says how
_OFF: tuple[object, ...] = (None, False, {}, [])
# Layers that keep [inputs, outputs] (Conv1D of transformers); linear layers keep [outputs, inputs].
SIDEWAYS = {"gpt2": ("c_attn", "c_proj", "c_fc"), "openai-gpt": ("c_attn", "c_proj", "c_fc")}
MOST_RANK, MOST_ALPHA = 65_536, 1e9
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "chat_template.jinja",
              "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """A sound adapter and the directory of its base; ``modules`` are the matrices that it changes."""

    directory: Path
    base: Path
    rank: int
    scale: float
    modules: tuple[str, ...]

    @property
    def words(self) -> str:
        """Return what is applied to what, for the result."""
        matrices = f"{len(self.modules)} matrices, rank {self.rank}, scale {self.scale:g}"
        return f"{self.directory} on {self.base} (LoRA merged into {matrices})"


def is_adapter(directory: Path) -> bool:
    """Return whether a directory holds an adapter and no model of its own."""
    return (directory / ADAPTER).is_file() and not (directory / "config.json").exists()


def config_directory(path: Path) -> Path:
    """Return the directory with the config.json of a model: that of the base for an adapter."""
    return read_adapter(path).base if is_adapter(path) else path


def read_adapter(directory: Path) -> Adapter:
    """Check an adapter and its base without reading weights.

    Raises UsageError for kinds of adapters that are not merged here, a base that is not here or is packed,
    and matrices that the base does not have.
    """
    place = directory / ADAPTER
    config = json_object(place)
    for key, value in config.items():
        if key not in _HARMLESS and value not in _KNOWN.get(key, _OFF):
            raise UsageError(
                f"{place}: {printable(key)[:60]} is {printable(str(value))[:60]}, which is not merged here; "
                f"{_BY_PEFT}"
            )
    rank: Any = config.get("r")
    alpha: Any = config.get("lora_alpha")
    if not isinstance(config.get("use_rslora", False), bool | None):
        said = printable(repr(config["use_rslora"]))[:30]
        raise UsageError(f"{place}: use_rslora is {said}, not true or false")
    sound = type(rank) is int and 1 <= rank <= MOST_RANK
    if not sound or type(alpha) not in (int, float) or not abs(alpha) <= MOST_ALPHA:
        said = f"r is {str(rank)[:30]} and lora_alpha is {str(alpha)[:30]}"
        raise UsageError(f"{place}: {said}: no LoRA has that")
    check_files(directory)
    check_more_configs(directory)
    base = _base(place, config)
    check_directory(base)
    if packing(json_object(base / "config.json")):
        raise UsageError(f"{place}: its base {base} is packed; an adapter is merged into dense weights only")
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Adapter(directory, base, rank, scale, tuple(_modules(directory / WEIGHTS, base, rank)))


def _base(place: Path, config: Mapping[str, Any]) -> Path:
    named = config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named or len(named) > 4096 or "\0" in named:
        raise UsageError(f"{place}: base_model_name_or_path does not name its base")
    base = place.parent / named
    if not _is_directory(base):
        raise UsageError(
            f"{place}: its base is {printable(named)[:200]!r}, which is no directory here: fetch it, and "
            "write its directory as base_model_name_or_path"
        )
    return base.resolve()


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or a directory that nobody may enter
        return False


def _modules(file: Path, base: Path, rank: int) -> Iterator[str]:
    """Yield the tensors of the base that the adapter changes. Raises UsageError if one does not fit."""
    if not file.is_file():
        raise UsageError(f"{file}: missing; an adapter is read from safetensors only")
    held = safetensors_header(file)
    for name, tensor in held.items():
        if tensor.dtype not in FLOATS:
            raise UsageError(f"{file}: {printable(name)[:120]} is {tensor.dtype}, and LoRA has floats")
    found = {name: tuple(tensor.shape) for name, tensor in held.items()}
    sideways = _sideways(base)
    shapes = {
        name: tuple(tensor.shape[::-1] if _layer(name) in sideways else tensor.shape)
        for path in weight_files(base)
        for name, tensor in safetensors_header(path).items()
    }
    if not found:
        raise UsageError(f"{file}: holds no tensors")
    for name in sorted(found):
        module = name.removeprefix(_PREFIX).removesuffix(_A).removesuffix(_B)
        low, high = (found.get(f"{_PREFIX}{module}{part}") for part in (_A, _B))
        if low is None or high is None:
            raise UsageError(
                f"{file}: {printable(name)[:120]} is no pair of LoRA matrices, so it would be left out; "
                f"{_BY_PEFT}"
            )
        target = f"{module}.weight"
        if target not in shapes:
            raise UsageError(
                f"{file}: changes {printable(target)[:120]}, and in the files of the base {base} nothing has "
                f"that name; {_BY_PEFT}"
            )
        if (low, high) != ((rank, shapes[target][-1]), (shapes[target][0], rank)) or len(shapes[target]) != 2:
            raise UsageError(
                f"{file}: {printable(module)[:120]} is {list(high)} times {list(low)}, and in the base "
                f"{list(shapes[target])} at rank {rank}"
            )
        if name.endswith(_A):
            yield target


def _sideways(base: Path) -> tuple[str, ...]:
    return SIDEWAYS.get(str(json_object(base / "config.json").get("model_type")), ())


def _layer(weight: str) -> str:
    """Return the name of the layer of a weight, without the modules that it is in."""
    return weight.removesuffix(".weight").rpartition(".")[2]


def tokenizer_files(directory: Path) -> list[Path]:
    """Return the files of a tokenizer that lies beside an adapter; fine-tuning may have added a template."""
    return sorted(directory / name for name in _TOKENIZER if (directory / name).is_file())


def most_weights(adapter: Adapter) -> int:
    """Return how many weights of 16 bits the files of an adapter and of its base could hold."""
    files = [*weight_files(adapter.base), adapter.directory / WEIGHTS]
    return sum(file.stat().st_size for file in files) // 2


def merge(adapter: Adapter, out: Path) -> int:
    """Write the base with the adapter merged in, in the base's own dtypes; sums are in float32.

    The tokenizer beside the adapter is used if there is one. Returns how many matrices changed. Raises
    UsageError for an adapter that changes none.
    """
    from safetensors.torch import load_file, save_file

    parts, changed, sideways = load_file(adapter.directory / WEIGHTS), 0, _sideways(adapter.base)
    for path in weight_files(adapter.base):
        tensors = load_file(path)
        for name in set(tensors) & set(adapter.modules):
            module = _PREFIX + name.removesuffix(".weight")
            more = adapter.scale * (parts[module + _B].float() @ parts[module + _A].float())
            more = more.T if _layer(name) in sideways else more
            merged = (tensors[name].float() + more).to(tensors[name].dtype)
            changed += not bool((merged == tensors[name]).all())
            tensors[name] = merged.contiguous()
        save_file(tensors, out / path.name, {"format": "pt"})
    if not changed:
        raise UsageError(f"{adapter.directory}: the adapter changes nothing (every product of B and A is 0)")
    unread = {INDEX} if (adapter.base / WHOLE).exists() else set()  # no loader looks for an index then
    for home, files in (
        (adapter.base, model_files(adapter.base)),
        (adapter.directory, tokenizer_files(adapter.directory)),
    ):
        kept = (file for file in files if file.suffix != ".safetensors" and file.name not in unread)
        copy_files(kept, home, out)
    return changed


def main(arguments: list[str]) -> int:
    """Run the child's command line, ADAPTER OUT; it prints how many matrices changed."""

    def merged() -> int:
        with Explained(of_libraries):
            return merge(read_adapter(Path(arguments[0])), Path(arguments[1]))

    return reported(merged, "merging an adapter needs the packages torch and safetensors")


if __name__ == "__main__":
    be_killed_first()
    raise SystemExit(main(sys.argv[1:]))
