"""Load checkpoints with transformers: plain ones, and those that were quantised before."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import Explained, Outcome, Unsupported, VariantFailed
from bench.formatting import one_line
from bench.models.json_files import json_object, method_of, packing
from bench.records import Json

DECODERS = "AutoModelForCausalLM"  # the class that loads a model which writes text
KINDS = {
    DECODERS: "causal language model", "AutoModel": "encoder",
    "AutoModelForSequenceClassification": "classifier",
}  # fmt: skip
NAMED = 3
MOST_SAID = 300
FAULTS = (ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, RuntimeError)
OF_MEMORY = ("memory", "CUDA error", "CUBLAS", "alloc")  # what an error says that is an outcome of its own
CONFIG_FAULT = "StrictDataclassError"  # of the hub's library: sizes in a config that do not fit together
_LOADING = (  # what a report says, and what it means
    ("missing_keys", "not in the files, so made up by the loader"),
    ("mismatched_keys", "of another shape, so made up by the loader"),
    ("unexpected_keys", "in the files and left out by the loader"),
)
# What only a layer for multi-token prediction has (DeepSeek-V3 technical report, 2.2). It stands behind the
# last layer, and nothing reads it when the next token is decoded.
_PREDICTS = re.compile(r"(?:^|\.)layers\.(\d+)\.(?:eh_proj|enorm|hnorm)\.")
READERS = {  # the package that unpacks a checkpoint of each method; for all others it is transformers
    "awq": "gptqmodel",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed_tensors",
    "gptq": "gptqmodel",
    "hqq": "hqq",
    "quanto": "optimum",
    "torchao": "torchao",
}


def pretrained(
    directory: Path,
    device: str,
    wanted: Json,
    auto: str = DECODERS,
    unread: Any | None = None,
) -> Any:
    """Load the checkpoint as it is, with the class ``auto``; ``unread`` is as for `_must_be_whole`.

    Raises Unsupported if it was quantised before and the package that packed it is not installed, and for an
    embedding model that is loaded as one that writes: of the hub, nothing is known before it is fetched.
    """
    import transformers

    if auto == DECODERS and (directory / "modules.json").is_file():
        raise Unsupported("this is an embedding model (it has modules.json): set runtime.task to embedding")

    wanted = {
        **wanted, "use_safetensors": True, "local_files_only": True, "trust_remote_code": False,
        "output_loading_info": True, "ignore_mismatched_sizes": True,  # each is named, and refused
    }  # fmt: skip
    said = quantisation(directory)
    if not said:
        model, report = getattr(transformers, auto).from_pretrained(directory, **wanted)
        _must_be_whole(type(model).__name__, report, unread or _predicting(directory, report))
        return model.to(device)
    method = method_of(said)
    _must_be_known(method)
    if importlib.util.find_spec(package := READERS.get(method, "transformers")) is None:
        raise Unsupported(f"a {method} checkpoint needs the package {package}, which is not installed")
    model, report = getattr(transformers, auto).from_pretrained(directory, device_map={"": device}, **wanted)
    _must_be_whole(type(model).__name__, report, unread or _predicting(directory, report))
    if quantised_by(model.config) is None:
        raise Unsupported(
            f"transformers unpacks a {method} checkpoint as it loads it here ({device}), so a dense model "
            "would be measured: run it on a device that has its kernels, or name a dense checkpoint"
        )
    return model


def _must_be_known(method: str) -> None:
    """Raise VariantFailed for a method that transformers does not know: it would only log that, and load the
    packed numbers as if they were weights. bitsandbytes has an entry for each number of bits there."""
    import transformers
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    if method == "bitsandbytes" or method in AUTO_QUANTIZER_MAPPING:
        return
    raise VariantFailed(
        Outcome.LOAD_ERROR,
        f"config.json: quant_method is {method[:60]!r}, which transformers "
        f"{transformers.__version__} cannot unpack",
    )


def _holder(directory: Path | None, word: object) -> str | None:
    """Return the key of ``config.json``, as a dotted path, whose value is a word that a loader did not find
    in a table of its own, such as ``hidden_act``."""
    todo: list[tuple[str, Any]] = [("", json_object(directory / "config.json"))] if directory and word else []
    while todo:
        place, value = todo.pop()
        if value == word:
            return one_line(place)[:MOST_SAID]
        if isinstance(value, dict):
            todo += [(f"{place}.{key}".lstrip("."), one) for key, one in value.items()]
        elif isinstance(value, list):
            todo += [(place, one) for one in value]
    return None


@contextmanager
def in_our_words(
    attention: str,
    cannot: str = "transformers cannot build this model",
    directory: Path | None = None,
    auto: str = DECODERS,
) -> Iterator[None]:
    """Turn what transformers says of a model that it cannot load or run into a row that says what to change.

    ``cannot`` begins the sentence where nothing better is known, ``auto`` is the class that loads. Running
    out of memory is another outcome.
    """
    with Explained(lambda bad: _explained(bad, attention, cannot, directory, KINDS[auto])):
        yield


def _explained(
    bad: BaseException, attention: str, cannot: str, directory: Path | None, kind: str
) -> Unsupported | VariantFailed | None:
    said = str(bad)
    if isinstance(bad, ImportError):  # a method of packing whose package is not here, or which needs a GPU
        return Unsupported(f"this checkpoint needs more than is here: {one_line(said).strip()[:MOST_SAID]}")
    if not isinstance(bad, FAULTS) and not any(CONFIG_FAULT in kind.__name__ for kind in type(bad).__mro__):
        return None
    if "does not support" in said and ("attention" in said or "sdpa" in said.lower()):
        other = "eager" if attention != "eager" else "sdpa"
        return Unsupported(
            f"this architecture has no {attention} attention in transformers: set runtime.attention to "
            f"{other}"
        )
    if "Unrecognized configuration class" in said or "does not recognize this architecture" in said:
        return Unsupported(f"transformers has no {kind} of this architecture")
    if "does not allow for the export" in said:  # optimum-intel, made for a version of transformers
        return Unsupported(f"{cannot}: {one_line(said)[:MOST_SAID]}")
    if type(bad) is KeyError and bad.args and (key := _holder(directory, bad.args[0])):
        return VariantFailed(
            Outcome.LOAD_ERROR,
            f"config.json: {key} is {str(bad.args[0])[:60]!r}, which transformers does not know",
        )
    if any(word in said for word in OF_MEMORY):
        return None
    what = one_line(f"{type(bad).__name__}: {said}")[:MOST_SAID]
    return VariantFailed(Outcome.LOAD_ERROR, f"{cannot} ({what})")


def _predicting(directory: Path, report: Mapping[str, Any]) -> re.Pattern[str] | None:
    """Return a pattern of the tensors left over that are layers for multi-token prediction; None without any.

    transformers knows them by the numbers that they have in the largest models, and not in smaller ones.
    """
    config = json_object(directory / "config.json")
    first, more = config.get("num_hidden_layers"), config.get("num_nextn_predict_layers")
    if type(first) is not int or type(more) is not int:
        return None
    found = {int(one[1]) for name in report.get("unexpected_keys") or () if (one := _PREDICTS.search(name))}
    layers = sorted(found & set(range(first, first + min(more, len(found)))))
    return re.compile(rf"(?:^|\.)layers\.(?:{'|'.join(map(str, layers))})\.") if layers else None


def _must_be_whole(kind: str, report: Mapping[str, Any], unread: Any | None) -> None:
    """Raise VariantFailed if the loader made up weights or left some out, which it only logs.

    ``report`` is what transformers returns with ``output_loading_info``: names by what was wrong with them.
    Names that the pattern ``unread`` finds are of parts that nothing reads.
    """
    said = []
    for key, words in _LOADING:
        names = sorted(str(one[0] if isinstance(one, tuple | list) else one) for one in report.get(key) or ())
        names = [name for name in names if unread is None or not unread.search(name)]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            tensors = "tensor" if len(names) == 1 else "tensors"
            said.append(f"{len(names)} {tensors} {words}: {', '.join(names[:NAMED])}{more}")
    if said:
        raise VariantFailed(Outcome.LOAD_ERROR, f"the weights do not fit {kind}: {'; '.join(said)}")


def quantisation(directory: Path) -> Json:
    """Return what the checkpoint says about how it was quantised; empty if it was not."""
    return dict(packing(json_object(directory / "config.json")))


def quantised_by(config: Any) -> str | None:
    """Return the method by which the checkpoint says it was quantised, or None."""
    said = getattr(config, "quantization_config", None)
    if said is None:
        return None
    method = said["quant_method"] if isinstance(said, dict) else said.quant_method
    return str(getattr(method, "value", method))


def into_own_memory(model: Any) -> None:
    """Copy every tensor out of the checkpoint's mapped file.

    A scheme that writes or packs weights has them in the process's own memory. A step from there was 2 to 5 %
    faster than from mapped pages, so a pruned model looked cheaper than the same kernels on the file. Also,
    two processes that map one file find each other's weights in the caches (docs/decisions/0013).
    """
    import torch

    own: dict[tuple[int, torch.Size, tuple[int, ...]], Any] = {}  # tied weights stay one tensor
    for whole in (*model.parameters(), *model.buffers()):
        tensor = getattr(whole, "_local_tensor", whole)  # of a model that is split, this process's part
        key = (tensor.data_ptr(), tensor.shape, tensor.stride())
        tensor.data = own.setdefault(key, tensor.data.clone())
