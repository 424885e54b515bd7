"""Recognise rows that are encoders, and refuse keys of a config that do nothing for them.

An encoder computes a vector of a text, or a number for each label. It writes no token, so a request is one
pass. Steps and settings of decoding do not go with it, nor do questions that need replies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench import plugins
from bench.config.model_configs import config_of
from bench.config.settings import DriftBlock, LimitBlock, RuntimeBlock, WorkloadBlock
from bench.config.spec import Arm, Group, Optimisation
from bench.drift.retrieval import places_of, set_for
from bench.models.lora import config_directory
from bench.models.reference import LocalPath, ModelRef
from bench.models.registry import FindModel
from bench.optimisations import verbs
from bench.yaml_source import KeyPath, YamlSource, blaming

EMBEDDING, CLASSIFICATION = "embedding", "classification"
# Architectures that see the whole text at every position, and write none unless their config asks for it.
ENCODERS = frozenset({
    "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "mobilebert",
    "modernbert", "mpnet", "roberta", "xlm-roberta",
})  # fmt: skip
_PLACE = re.compile(r"[0-9]{1,9}")  # of a label
SENTENCE_MODULES = "modules.json"  # what sentence-transformers writes beside the weights
WRITTEN = ("reasoning",)  # workloads of what a model writes
OF_DECODERS = ("text", "window", "statistics", "suites")  # keys of drift


def task_of(model: ModelRef, find: FindModel) -> str | None:
    """Return what an encoder is for, as its config says; None for a model that writes text, and for one of
    the hub, of which nothing is known before it is fetched."""
    config = config_of(model, find)
    names = config.get("architectures")
    first = str(names[0]) if isinstance(names, list) and names else ""
    if first.endswith("ForSequenceClassification"):
        return CLASSIFICATION
    writes = first.endswith(("ForCausalLM", "LMHeadModel")) or config.get("is_decoder") is True
    pooled = isinstance(model, LocalPath) and (config_directory(model.path) / SENTENCE_MODULES).is_file()
    return EMBEDDING if pooled or (config.get("model_type") in ENCODERS and not writes) else None


def with_task(runtime: RuntimeBlock, model: ModelRef, find: FindModel) -> RuntimeBlock:
    """Return the block with the task of its model, unless the block gives one, or the engine decodes in its
    own way and needs no more of the model than its tokenizer."""
    engine = plugins.load("runtimes", runtime.name)
    if runtime.task or getattr(engine, "SERVER", False) or getattr(engine, "WHOLE_ANSWERS", False):
        return runtime
    return runtime.model_copy(update={"task": task_of(model, find)})


def module_of(runtime: RuntimeBlock) -> str:
    """Return the module that loads the model of a row: that of the engine, or the engine's for encoders."""
    if runtime.task is None:
        return plugins.module_name("runtimes", runtime.name)
    return str(plugins.load("runtimes", runtime.name).ENCODER)


def runs_own_code(runtime: RuntimeBlock) -> bool:
    """Return whether the engine calls the user's own code, of which nothing is known but its answers."""
    return bool(getattr(plugins.load("runtimes", runtime.name), "WHOLE_ANSWERS", False))


def in_one_turn(runtime: RuntimeBlock) -> bool:
    """Return whether a request is one turn: a text that is encoded, or an answer that comes as a whole."""
    return runtime.task is not None or runs_own_code(runtime)


def schemes_of(engine: str) -> list[str]:
    """Return the schemes that an engine can apply to an encoder, as a config names them."""
    return [
        f"{verb} {name}"
        for verb in verbs()
        for name, module in plugins.each(f"optimisations.{verb}")
        if engine in getattr(module, "ENCODERS", ())
    ]


def check_encoder(
    source: YamlSource,
    runtime: RuntimeBlock,
    workload: WorkloadBlock,
    steps: Sequence[Optimisation],
    row: str,
    places: Mapping[str, KeyPath],
) -> None:
    """Refuse an engine, a workload or a step that needs a model which writes text, if the row is an encoder.

    ``row`` is its name, because a key at the top of a file is for all rows. ``places`` says where ``name``
    (of the runtime), ``workload``, ``output_tokens`` and ``optimise`` stand. Raises ConfigError.
    """
    if runtime.task is None:
        return
    if not hasattr(plugins.load("runtimes", runtime.name), "ENCODER"):
        able = [name for name, module in plugins.each("runtimes") if hasattr(module, "ENCODER")]
        problem = f"{runtime.name} runs models that write text, and that of {row} is for {runtime.task}"
        raise source.error(places["name"], problem, f"an encoder runs in {', '.join(able)}")
    if workload.name in WRITTEN:
        problem = f"{workload.name!r} is about what a model writes, and {row}, an encoder, writes nothing"
        raise source.error(places["workload"], problem, "one of chat, fixed, file")
    if workload.output_tokens != WorkloadBlock.model_fields["output_tokens"].default:
        problem = f"does nothing for {row}, whose model is an encoder ({runtime.task}) and writes no token"
        raise source.error(places["output_tokens"], problem, "leave it out")
    for index, step in enumerate(steps):
        scheme = plugins.load(f"optimisations.{step.verb}", step.scheme)
        if runtime.name not in getattr(scheme, "ENCODERS", ()):
            problem = f"{step.verb} {step.scheme} is for models that write text, and {row} is an encoder"
            hint = f"for an encoder in {runtime.name}: {', '.join(schemes_of(runtime.name)) or 'nothing yet'}"
            raise source.error((*places["optimise"], index), problem, hint)


def check_same_task(source: YamlSource, base: Arm, arm: Arm, place: KeyPath) -> None:
    """Refuse a variant whose task is another than its baseline's; ``place`` is that of its model."""
    if arm.runtime.task == base.runtime.task:
        return
    variant_is, baseline_is = (
        f"is for {task}" if task else "writes text" for task in (arm.runtime.task, base.runtime.task)
    )
    problem = f"the model of {arm.name} {variant_is}, and the baseline's {baseline_is}"
    raise source.error(place, problem, "compare models for the same task")


def encodes(groups: Sequence[Group]) -> str | None:
    """Return the task of the encoders of a config, None if its models write text: all rows are alike."""
    return groups[0].baseline.runtime.task if groups else None


def check_drift_of_encoders(
    source: YamlSource, drift: DriftBlock, task: str, labels: tuple[str, ...]
) -> None:
    """Refuse keys of ``drift`` about text that a model writes, and texts of the user that cannot be
    used. A default may stand there. ``labels`` are those of the model, none if they are not known.
    """
    for key in OF_DECODERS:
        value, default = getattr(drift, key), DriftBlock.model_fields[key].default
        if value not in (default, ()):
            problem = f"does nothing here: every row is an encoder ({task}), and its outputs are compared"
            raise source.error(("drift", key), problem, "give texts of your own as drift.items")
    if drift.items is None:
        return
    with blaming(source, ("drift", "items"), drift.items):
        found = set_for(task, drift.items)
    if found.labels and labels:
        try:
            places_of(found.labels, labels)
        except ValueError as bad:
            raise source.error(("drift", "items"), f"{drift.items}: {bad}") from None


def check_limits_of_encoders(
    source: YamlSource, gate: Sequence[tuple[str, LimitBlock]], task: str | None, *, labelled: bool
) -> None:
    """Refuse a limit on a figure that an encoder does not have, or that only an encoder has.

    ``labelled`` says whether the config has texts of which the right label is known.
    """
    if not gate:
        return
    from bench.gate.encoder_metrics import not_of_encoders, of_encoders

    for key, _limit in gate:
        known = of_encoders(task, labelled=labelled)
        if key in not_of_encoders() and task is not None:
            hint = f"of {task} there are {', '.join(sorted(known))}"
            raise source.error(("gate", key), "an encoder has no such figure", hint)
        if key in of_encoders(EMBEDDING) | of_encoders(CLASSIFICATION, labelled=True) and key not in known:
            raise source.error(("gate", key), "this run does not measure it", _who_has(key))


def _who_has(key: str) -> str:
    if key.endswith("_change"):
        return "only for classification, with drift.items of which the label is known"
    return f"only an encoder for {CLASSIFICATION if key.startswith('label') else EMBEDDING} has it"


def labels_of(model: ModelRef, find: FindModel) -> tuple[str, ...]:
    """Return the labels of a classifier in their order, as its config names them; none if it is not known."""
    named: Any = config_of(model, find).get("id2label")
    if not isinstance(named, Mapping) or not all(_PLACE.fullmatch(str(key)) for key in named):
        return ()
    return tuple(str(named[key]) for key in sorted(named, key=lambda key: int(str(key))))
