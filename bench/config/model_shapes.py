"""Check a config against what is known of its models before they are loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import plugins
from bench.config.model_configs import config_of, context_of
from bench.config.settings import WorkloadBlock
from bench.config.spec import Optimisation
from bench.formatting import printable
from bench.models.json_files import json_object, method_of, packing
from bench.models.lora import config_directory
from bench.models.reference import LocalPath, ModelRef, Named, Random
from bench.models.registry import FindModel
from bench.models.text_config import text_config
from bench.optimisations import leaves_weights, verbs
from bench.yaml_source import KeyPath, YamlSource

ROWS = ("hidden_size", "intermediate_size")  # how many weights a row of some matrices has


def check_fits(source: YamlSource, model: ModelRef, wanted: int, path: KeyPath, find: FindModel) -> None:
    """Refuse a workload with more tokens in and out than a known model's context has.

    A prompt of unknown length counts as one token.
    """
    context = context_of(model, find)
    if context is not None and wanted > context:
        raise source.error(path, f"{wanted} tokens in and out do not fit the model's context of {context}")


def check_order(
    source: YamlSource, model: ModelRef, steps: Sequence[Optimisation], path: KeyPath, find: FindModel
) -> None:
    """Refuse a step that cannot work after the steps before it, or on a checkpoint that is packed already.

    Packed weights cannot be pruned, trained or packed again, only one of two KV caches would be used, drafts
    need a cache from which tokens can be taken, and a compiled model cannot be changed any more.
    """
    came_packed = packing(config_of(model, find))
    packed = cached = ""
    for index, step in enumerate(steps):
        name, place = f"{step.verb} {step.scheme}", (*path, index)
        scheme = plugins.load(f"optimisations.{step.verb}", step.scheme)
        weights = leaves_weights(step.verb, scheme)
        closing = (one for one in steps[:index] if hasattr(verbs()[one.verb], "CLOSES"))
        if (last := next(closing, None)) is not None:
            problem = f"{name} comes after {verbs()[last.verb].CLOSES}"
            raise source.error(place, problem, f"{last.verb} last, and once")
        if came_packed and weights != "any":
            problem = f"{name} needs dense weights, and this checkpoint is packed ({method_of(came_packed)})"
            raise source.error(place, problem, "name the dense checkpoint, or leave this step out")
        if packed and weights != "any":
            both_last = weights == "packs" or hasattr(verbs()[step.verb], "CLOSES")
            hint = "keep one of the two" if both_last else f"put {packed} after {name}"
            raise source.error(place, f"{name} needs dense weights, and {packed} has packed them", hint)
        if cached and getattr(scheme, "DECODING", False):
            problem = f"{name} and {cached} each change how tokens are decoded"
            raise source.error(place, problem, "keep one of the two")
        packed = name if weights == "packs" else packed
        cached = name if getattr(scheme, "DECODING", False) else cached


def why_not_in_batches(steps: Sequence[Optimisation], load: WorkloadBlock) -> str | None:
    """Return why these steps cannot decode so many sequences at a time; None if they can."""
    drafts = next((step for step in steps if step.verb == "speculate"), None)
    if drafts is None or load.batch_size == 1:
        return None
    return f"{drafts.verb} {drafts.scheme} is for one sequence at a time: set batch_size to 1"


def check_shapes(
    source: YamlSource, model: ModelRef, steps: Sequence[Optimisation], path: KeyPath, find: FindModel
) -> None:
    """Refuse settings that do not fit the shape of a known model, such as a layer that it does not have.

    Only the first step that changes shapes is checked, because later steps get a model of another shape.
    """
    shape = _shape(model, find)
    for index, step in enumerate(steps if shape else ()):
        module = plugins.load(f"optimisations.{step.verb}", step.scheme)
        if hasattr(module, "refuse"):
            if reason := module.refuse(module.Params(**dict(step.params)), shape):
                raise source.error((*path, index), reason)
            if leaves_weights(step.verb, module) != "packs":  # what packs weights leaves the shapes
                return


def check_classes(
    source: YamlSource, model: ModelRef, steps: Sequence[Optimisation], path: KeyPath, find: FindModel
) -> None:
    """Refuse a step that the class of a known model does not take, whatever its shape."""
    config = config_of(model, find)
    for index, step in enumerate(steps if config else ()):
        scheme = plugins.load(f"optimisations.{step.verb}", step.scheme)
        if not hasattr(scheme, "refuse_model"):
            continue
        if reason := scheme.refuse_model(scheme.Params(**dict(step.params)), config):
            raise source.error((*path, index), printable(reason))


def check_students(
    source: YamlSource,
    teacher: ModelRef,
    student: ModelRef,
    steps: Sequence[Optimisation],
    path: KeyPath,
    find: FindModel,
) -> None:
    """Refuse to train a student on the baseline's tokens if its own vocabulary has another size."""
    learns = next((index for index, step in enumerate(steps) if step.verb == "distil"), None)
    if learns is None:
        return
    of_teacher, of_student = ((_shape(model, find) or {}).get("vocabulary") for model in (teacher, student))
    if of_teacher and of_student and of_teacher != of_student:
        raise source.error(
            (*path, learns),
            f"the student has a vocabulary of {of_student} tokens, the baseline of {of_teacher}: it cannot "
            "learn from the baseline's tokens",
            "leave this step out to compare the two by their replies",
        )


def _shape(model: ModelRef, find: FindModel) -> Mapping[str, Any] | None:
    """Return sizes by the names that files in models/ use; None if nothing is known before loading."""
    if isinstance(model, LocalPath) and model.path.is_dir():
        config = text_config(json_object(config_directory(model.path) / "config.json"))
        heads = config.get("num_attention_heads")
        sizes = {
            "layers": config.get("num_hidden_layers"),
            "attention_heads": heads,
            "kv_heads": config.get("num_key_value_heads", heads),
        }
        others = {"vocabulary": config.get("vocab_size"), "mixture": _mixture(config)}
        others |= {key: config[key] for key in ROWS if _is_size(config.get(key))}
        whole = all(map(_is_size, sizes.values()))
        return {**sizes, **others} if whole else None
    if not isinstance(model, Named | Random):
        return None
    known = find(model.name).sized(model.size) if isinstance(model, Random) else find(model.name)
    return {**known.architecture.model_dump(), "mixture": _mixture(known.config)}


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _mixture(config: Mapping[str, Any]) -> bool:
    """Return whether a transformers config has a number of experts, under any name."""
    return any("expert" in key and bool(value) for key, value in config.items())
