"""Refuse what an engine would refuse after loading, where the model's files or its card show it before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench import plugins
from bench.config.model_configs import config_of
from bench.config.settings import RuntimeBlock, WorkloadBlock
from bench.formatting import printable
from bench.models.gguf_architectures import why_not_converted
from bench.models.gguf_format import is_gguf
from bench.models.json_files import json_object
from bench.models.lora import config_directory
from bench.models.reference import LocalPath, ModelRef, Random
from bench.models.registry import FindModel
from bench.models.safetensors_header import safetensors_header
from bench.models.templates import TOKENIZERS, has_tokenizer, tokenizer_class_of, without_default
from bench.models.text_config import without_text_class
from bench.models.weight_files import INDEX, WHOLE, weight_files
from bench.runtimes._sentence_files import refuse_encoder
from bench.yaml_source import KeyPath, YamlSource

# Architectures whose class in transformers 5.17 has eager attention and no other; a test compares them with
# the table in results/reference/architectures.
EAGER_ONLY = frozenset({
    "big_bird", "bigbird_pegasus", "bloom", "codegen", "cpmant", "deepseek_v4", "falcon_mamba", "git",
    "got_ocr2", "gpt_neo", "gpt_neox_japanese", "gpt_oss", "gptj", "granite_swa", "granitemoe_swa",
    "hy_v4", "mamba", "mamba2", "megatron-bert", "mimo_v2_flash", "mpt", "mvp", "openai-gpt",
    "prophetnet", "reformer", "rembert", "roformer", "rwkv", "trocr", "xglm", "xlm", "xlnet", "xlstm",
})  # fmt: skip


# Engines that read text with the tokenizer beside the weights; others, of a user too, may need none.
WITH_TOKENIZER = ("transformers", "transformers-parallel", "onnxruntime", "openvino", "llama-cpp", "numpy")
OF_TRANSFORMERS = ("transformers", "transformers-parallel")
WITH_TEMPLATES = tuple(name for name in WITH_TOKENIZER if name != "numpy")  # which reads plain text
MOST_SAID = 400
OLDER_FORM = ("vocab.json", "merges.txt")  # as GPT-2 has them, beside a class that knows how to read them
OTHER_FORMS = tuple(name for name in TOKENIZERS if name not in OLDER_FORM)
# Model types for which transformers has no class of tokenizer but the one that reads tokenizer.json.
NO_CLASS = frozenset({
    "granite", "granitemoe", "granitemoehybrid", "llama", "olmo2", "olmo3", "smollm3", "stablelm",
})  # fmt: skip
ONE_FORM = ("numpy", "command", "callable")  # these read it from this file only
TOKENIZER = "tokenizer.json"
ONE_ATTENTION = ("onnxruntime", "openvino")  # for decoders; an encoder is traced with that of transformers
OTHER_HEADS = ("v_head.", "qa_outputs.")  # of values and of answers: neither writes tokens
# Ends of the names of classes whose output is none that is compared here.
OTHER_CLASSES = (
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
)
OWN_CODE = "runtime.name transformers runs the model's own code"
WRAPPERS = ("_orig_mod.", "module.", "_fsdp_wrapped_module.", "base_model.model.")


def check_loadable(
    source: YamlSource,
    model: ModelRef,
    runtime: RuntimeBlock,
    places: tuple[KeyPath, KeyPath],
    find: FindModel,
) -> None:
    """Raise ConfigError without a tokenizer, for an encoder-decoder, for a model of which transformers has no
    class for text alone, for a GGUF that cannot be converted, for a key of the config that the engine does
    not compute, for a step of sentence-transformers that is not known here, and for an attention that the
    architecture does not have.

    ``places`` are those of the keys ``model`` and ``runtime.attention``. An engine in another interpreter may
    have another transformers, so its classes and their attention are not judged.
    """
    if (of_model := _of_model(model, runtime, find)) is not None:
        raise source.error(places[0], *of_model)
    if (of_attention := _of_attention(model, runtime, find)) is not None:
        raise source.error(places[1], *of_attention)


def _of_model(model: ModelRef, runtime: RuntimeBlock, find: FindModel) -> tuple[str, str] | None:
    """Return (what is wrong with a model, what helps), or None."""
    said: str | None
    if isinstance(model, Random) and not getattr(plugins.load("runtimes", runtime.name), "RANDOM", True):
        said = f"the {runtime.name} engine needs a model's weights, not random ones"
        return said, "name a model in models/ with pinned weights, or {path}"
    reads_text = runtime.name in WITH_TOKENIZER
    if isinstance(model, LocalPath) and model.path.is_dir():
        if said := _unread(model.path, runtime.name):
            return said, "add its tokenizer files, or measure speed alone with {random: NAME}"
        if reads_text and (said := _wordless(model.path, config_of(model, find).get("model_type"))):
            return said, "add its tokenizer.json, or the tokenizer_class"
        refuse_directory = getattr(plugins.load("runtimes", runtime.name), "refuse_directory", None)
        if refuse_directory is not None and (said := refuse_directory(config_directory(model.path))):
            return f"{model.path}: {printable(said)}", OWN_CODE
        if (
            reads_text
            and runtime.task
            and (said := refuse_encoder(config_directory(model.path), runtime.task))
        ):
            return f"{model.path}: {printable(said)}", ""
        if reads_text and (said := _of_directory(model.path, runtime.task)):
            return f"{model.path}: {printable(said)}", ""
    if not reads_text:
        return None
    if isinstance(model, LocalPath) and is_gguf(model.path) and (said := why_not_converted(model.path)):
        return f"{model.path}: {said}", "give the model as safetensors"
    config = config_of(model, find)
    said = _other_use(config) or (None if runtime.task else _half(config))
    if said is not None:
        return printable(said), ""
    own = runtime.name in OF_TRANSFORMERS and runtime.python is None and not runtime.task
    if own and (said := without_text_class(config)):
        return said, "a server such as runtime.name vllm may have one"
    said = _not_computed(config, runtime)
    return None if said is None else (printable(said), OWN_CODE)


def _not_computed(config: Mapping[str, Any], runtime: RuntimeBlock) -> str | None:
    """Return what an engine with a reader of its own says of a config that it does not compute; None of one
    that it does, or that is not known."""
    refuse_model = getattr(plugins.load("runtimes", runtime.name), "refuse_model", None)
    if refuse_model is None or runtime.task is not None or not config:
        return None
    said: str | None = refuse_model(config, **dict(runtime.own))
    return said


def _of_attention(model: ModelRef, runtime: RuntimeBlock, find: FindModel) -> tuple[str, str] | None:
    """Return (what is wrong with the attention of a row, what helps), or None."""
    if runtime.name in ONE_ATTENTION and not runtime.task and runtime.attention != "sdpa":
        said = f"does nothing for {runtime.name}, which has one attention"
        return said, "leave it out, or set it to sdpa for a variant"
    if runtime.name not in OF_TRANSFORMERS or runtime.python is not None or runtime.attention != "sdpa":
        return None
    kind = config_of(model, find).get("model_type")
    if kind not in EAGER_ONLY:
        return None
    said = f"{kind} has no sdpa attention in transformers"
    return said, "set runtime.attention to eager, for the baseline and its variants"


def _unread(directory: Path, engine: str) -> str | None:
    """Return why an engine does not find the tokenizer of a model directory; None if it does."""
    if engine in WITH_TOKENIZER and not has_tokenizer(directory):
        return f"{directory}: no tokenizer beside the weights, so what the model reads would not be its text"
    if engine in ONE_FORM and not has_tokenizer(directory, (TOKENIZER,)):
        return f"{directory}: no {TOKENIZER}, and {engine} reads no other file of a tokenizer"
    return None


def _wordless(directory: Path, kind: object) -> str | None:
    """Return why transformers makes no tokenizer of a vocabulary in the older form: neither the settings nor
    the type of the model names the class that reads it. None if it does, as far as it is known here."""
    if kind not in NO_CLASS or not has_tokenizer(directory, OLDER_FORM):
        return None
    if has_tokenizer(directory, OTHER_FORMS) or tokenizer_class_of(directory) is not None:
        return None
    return (
        f"{directory}: its tokenizer is {' and '.join(OLDER_FORM)} alone, and no tokenizer_config.json "
        f"names the tokenizer_class that reads them, as {kind} needs"
    )


def _of_directory(path: Path, task: str | None) -> str | None:
    directory = config_directory(path)
    held = [directory / "config.json", directory / INDEX, *sorted(directory.glob("*.safetensors"))]
    state = ((path.name, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for path, one in _stats(held))
    return _made_up(directory.resolve(), tuple(state), writes=task is None)


def _stats(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    yield from ((path, path.stat()) for path in paths if path.exists())


@lru_cache  # for all rows of a config: a header has up to 24 MiB
def _made_up(directory: Path, _state: object, *, writes: bool) -> str | None:
    """Return what is plain of weights that a loader would not find, or would make up; None if nothing is.

    That are files that it does not look for, the prefix of a wrapper, and untied embeddings without a head
    of a model that ``writes`` text: an encoder made from such a model has no head.
    """
    if not any((directory / name).exists() for name in (WHOLE, INDEX)):
        return f"no {WHOLE} and no {INDEX}: a loader looks for no other names of weights"
    names = [name for file in weight_files(directory) for name in safetensors_header(file)]
    for prefix in WRAPPERS:
        if names and all(name.startswith(prefix) for name in names):
            return f"all tensors are called {prefix}..., as a wrapper of training names them: rename them"
    config = json_object(directory / "config.json")
    embedded = any(name.endswith("embed_tokens.weight") for name in names)
    headed = any(
        ("head" in name or "output" in name) and not any(other in name for other in OTHER_HEADS)
        for name in names
    )
    if writes and embedded and not headed and config.get("tie_word_embeddings") is False:
        return (
            "no tensor is a head, and tie_word_embeddings is false: a loader would make one up (of a model "
            "that makes vectors say runtime: {task: embedding})"
        )
    return None


def _other_use(config: Mapping[str, Any]) -> str | None:
    """Return a sentence if a model is for something that is not measured; None if it is not known to be."""
    for name in _architectures(config)[:1]:
        if name.endswith(OTHER_CLASSES):
            return f"{name} neither writes text nor labels whole texts, and nothing else is measured"
        if name.endswith("EncoderModel"):
            return f"{name} is the encoder of an encoder-decoder, whose other half a loader would make up"
    return None


def _architectures(config: Mapping[str, Any]) -> list[str]:
    named = config.get("architectures")
    return [str(one)[:60] for one in named] if isinstance(named, list) else []


def _half(config: Mapping[str, Any]) -> str | None:
    """Return a sentence if a model writes with one stack of layers what it has read with another; else None.

    transformers would load the half that writes, if there is such a class, and make up what it reads.
    """
    names = _architectures(config)
    if config.get("is_encoder_decoder") is not True or any(one.endswith("CausalLM") for one in names):
        return None
    kind = f" ({names[0]})" if names else ""
    return f"this is an encoder-decoder{kind}: what is measured reads and writes with one stack of layers"


def check_template(
    source: YamlSource, model: ModelRef, runtime: RuntimeBlock, workload: WorkloadBlock, place: KeyPath
) -> None:
    """Raise ConfigError if a message would be put into a chat template, and several have names, none of which
    is the default. ``place`` is that of the model."""
    if not isinstance(model, LocalPath) or runtime.task or runtime.name not in WITH_TEMPLATES:
        return
    names = without_default(model.path)
    if names and any(one.chat for one in plugins.load("workloads", workload.name).prompts(workload)):
        said = f"{model.path}: chat templates for {', '.join(names)}, and no default for a message"
        raise source.error(place, printable(said[:MOST_SAID]), "name one of them default")
