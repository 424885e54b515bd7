"""What is known of a model before it is loaded, and what of a config does not fit it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench import plugins
from bench.config.spec import Optimisation, WorkloadBlock
from bench.models.reference import LocalPath, ModelRef, Named, Random
from bench.models.registry import FindModel
from bench.optimisations import leaves_weights
from bench.yaml_source import KeyPath, YamlSource


def check_fits(
    source: YamlSource, model: ModelRef, load: WorkloadBlock, path: KeyPath, find: FindModel
) -> None:
    """Refuse a load longer than a known model's context. Prompts of unknown length count as one token."""
    if not isinstance(model, Named | Random):
        return
    context, wanted = find(model.name).architecture.context, (load.input_tokens or 1) + load.output_tokens
    if wanted > context:
        raise source.error(path, f"{wanted} tokens in and out do not fit the model's context of {context}")


def check_order(source: YamlSource, steps: Sequence[Optimisation], path: KeyPath) -> None:
    """Refuse steps that cannot work after those before them: packed weights cannot be pruned, trained or
    packed again, of two KV caches one would be served, and what is compiled stays as it is."""
    packed = cached = ""
    for index, step in enumerate(steps):
        name, place = f"{step.verb} {step.scheme}", (*path, index)
        scheme = plugins.load(f"optimisations.{step.verb}", step.scheme)
        weights = leaves_weights(step.verb, scheme)
        if any(earlier.verb == "compile" for earlier in steps[:index]):
            raise source.error(place, f"{name} comes after compiling", "compile last, and once")
        if packed and weights != "any":
            hint = "keep one of the two" if weights == "packs" else f"put {packed} after {name}"
            raise source.error(place, f"{name} needs dense weights, and {packed} has packed them", hint)
        if cached and getattr(scheme, "DECODING", False):
            raise source.error(place, f"{name} and {cached} each bring a KV cache", "keep one of the two")
        packed = name if weights == "packs" else packed
        cached = name if getattr(scheme, "DECODING", False) else cached


def check_shapes(
    source: YamlSource, model: ModelRef, steps: Sequence[Optimisation], path: KeyPath, find: FindModel
) -> None:
    """Refuse settings that do not fit the shape of a known model, such as a layer that it does not have. Only
    the first step that changes shapes is known to meet that shape."""
    shape = _shape(model, find)
    for index, step in enumerate(steps if shape else ()):
        module = plugins.load(f"optimisations.{step.verb}", step.scheme)
        if hasattr(module, "refuse"):
            if reason := module.refuse(module.Params(**dict(step.params)), shape):
                raise source.error((*path, index), reason)
            return


def check_students(
    source: YamlSource,
    teacher: ModelRef,
    student: ModelRef,
    steps: Sequence[Optimisation],
    path: KeyPath,
    find: FindModel,
) -> None:
    """Refuse to train a student on the baseline's tokens where it has others."""
    learns = next((index for index, step in enumerate(steps) if step.verb == "distil"), None)
    if learns is None:
        return
    theirs, ours = ((_shape(model, find) or {}).get("vocabulary") for model in (teacher, student))
    if theirs and ours and theirs != ours:
        raise source.error(
            (*path, learns),
            f"the student has a vocabulary of {ours} tokens, the baseline of {theirs}: it cannot learn from "
            "the baseline's tokens",
            "leave this step out to compare the two by their replies",
        )


def _shape(model: ModelRef, find: FindModel) -> Mapping[str, Any] | None:
    """Sizes by the names that files in models/ use; None where nothing is known before loading."""
    if isinstance(model, LocalPath) and model.path.is_dir():
        config = json.loads((model.path / "config.json").read_text(encoding="utf-8"))
        heads = config.get("num_attention_heads")
        sizes = {
            "layers": config.get("num_hidden_layers"),
            "attention_heads": heads,
            "kv_heads": config.get("num_key_value_heads", heads),
        }
        others = {"vocabulary": config.get("vocab_size"), "mixture": _mixture(config)}
        return {**sizes, **others} if all(sizes.values()) else None
    if not isinstance(model, Named | Random):
        return None
    known = find(model.name)
    sizes = known.architecture.model_dump()
    layers = model.layers if isinstance(model, Random) else None
    return {**sizes, "layers": layers or sizes["layers"], "mixture": _mixture(known.config)}


def _mixture(config: Mapping[str, Any]) -> bool:
    """Whether a transformers config counts experts, by whatever name."""
    return any("expert" in key and bool(value) for key, value in config.items())
