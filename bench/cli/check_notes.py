"""Write the notes of `bench check`: what the user should know before the config is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench import plugins
from bench.cli.estimate import most_pairs
from bench.cli.expected import batches
from bench.cli.list_pages import model_words
from bench.config.cascades import edge_of
from bench.config.devices import devices_of
from bench.config.encoders import encodes
from bench.config.gpu_memory import one_after_other
from bench.config.inputs import is_file_of_text
from bench.config.model_configs import config_of, context_of
from bench.config.served import is_server, serves
from bench.config.spec import Arm, Spec
from bench.config.steps import HOME_ENGINE
from bench.config.support import device_here
from bench.drift.behaviour import suites_of
from bench.errors import UsageError
from bench.formatting import GIB, count
from bench.gate.limits import rules
from bench.machine.devices import cpu_count
from bench.machine.gpus import cautions as cautions_of_gpus
from bench.machine.gpus import gpu_for
from bench.machine.nvml import Gpu
from bench.measure.clock import utc_now
from bench.models.gguf_format import is_gguf
from bench.models.json_files import method_of, packing
from bench.models.reference import LocalPath, Named, Random, named_or_path, same_model
from bench.models.registry import find_model
from bench.models.templates import has_template
from bench.models.unknown_tokens import unknown_tokens
from bench.pricing.book import price_called, whole_book
from bench.pricing.cards import misfit_of_card, price_of_card
from bench.pricing.hourly_price import cautions
from bench.pricing.reprice import plain
from bench.records.grid import MAY_BE_CONFOUNDED, quantises
from bench.runs.meters import check_meters
from bench.stats.intervals import LEAST_SAMPLES
from bench.texts import read_text

EAGER_BASELINE = (
    "the baseline is eager on a GPU: the processor that launches its kernels may bound its steps, and then "
    "it is the wrong yardstick; add `optimise: [{compile: inductor, mode: reduce-overhead}]`"
)

UNPACKED_WHEN_USED = "compressed-tensors"  # see "Checkpoints that were quantised before"
BYTES_A_TOKEN = 3  # of most texts and tokenizers, or more


def notes(spec: Spec) -> Iterator[str]:
    """Yield the notes on a config: about its price and machine, its ratios, its models and its drift."""
    yield from _of_machine(spec)
    yield from _of_ratios(spec)
    yield from _of_models(spec)
    yield from _of_workloads(spec)
    yield from _of_meters(spec)


def _of_meters(spec: Spec) -> Iterator[str]:
    """Yield why ``bench gate`` would refuse a limit on energy on this machine; nothing if it would not."""
    try:
        check_meters(list(rules({key: limit.model_dump() for key, limit in spec.gate})), spec)
    except UsageError as bad:
        yield f"bench gate would refuse this here: {str(bad).removeprefix(f'{spec.file}: ')}"


def _of_workloads(spec: Spec) -> Iterator[str]:
    """Yield what the kinds of workload say of the values that they have here (see ``notes`` of a kind)."""
    for workload in dict.fromkeys(arm.workload for arm in _arms(spec)):
        said = getattr(plugins.load("workloads", workload.name), "notes", None)
        yield from said(workload) if said is not None else ()


def _of_machine(spec: Spec) -> Iterator[str]:
    """Yield notes about the price, the GPU, its memory, and the processors."""
    arms = _arms(spec)
    if spec.price.hardware is not None:
        yield from cautions(plain(price_called(spec.price.hardware)), utc_now()[:10])
    yield from _other_card(spec, arms)
    runnable = (arm for arm in arms if not arm.unsupported)
    yield from cautions_of_gpus({device for arm in runnable for device in devices_of(arm.runtime)})
    yield from one_after_other(spec.groups, find_model)
    for threads in sorted({arm.runtime.threads or 0 for arm in arms}):
        if threads > cpu_count():
            yield f"{threads} threads on {count(cpu_count(), 'processor')}: they will wait for each other"
    if any(_eager_on_gpu(group.baseline) for group in spec.groups):
        yield EAGER_BASELINE


def _of_ratios(spec: Spec) -> Iterator[str]:
    """Yield a note if a ratio will have no interval, or one that does not include how pairs vary."""
    if most_pairs(spec) == 1 and len(_arms(spec)) > len(spec.groups):
        yield "a ratio rests on a single pair of processes, which does not show how much pairs differ"
    counts = {
        batches(side)
        for group in spec.groups
        for arm in group.variants
        if arm.workload != group.baseline.workload and not is_server(arm.runtime)
        for side in (arm, group.baseline)
    }
    if counts and min(counts) < LEAST_SAMPLES:
        yield f"a ratio of two workloads rests on {min(counts)} batches on one side, too few for an interval"


def _of_models(spec: Spec) -> Iterator[str]:
    """Yield notes about the models: weights on a grid, chat templates, and how much drift is measured."""
    arms = _arms(spec)
    ggufs = [arm for arm in arms if isinstance(arm.model, LocalPath) and is_gguf(arm.model.path)]
    if any(quantises(step.label for step in arm.optimise) for arm in ggufs):
        yield MAY_BE_CONFOUNDED
    lengths = [length for arm in arms if (length := context_of(arm.model, find_model)) is not None]
    scored = 0 if serves(spec.groups) or encodes(spec.groups) else spec.drift.tokens
    if spec.drift.statistics and not scored:
        yield "drift.statistics are not computed: nothing is scored, because drift.tokens is 0"
    if scored and lengths and spec.drift.window > min(lengths):
        yield (
            f"drift.window of {spec.drift.window} does not fit a context of {min(lengths)}: that drift will "
            "not be measured"
        )
    yield from sorted({said for arm in arms if (said := _no_template(arm))})
    yield from sorted({said for arm in arms if (said := _unpacked_when_used(arm))})
    directories = {arm.model for arm in arms if isinstance(arm.model, LocalPath)}
    yield from sorted({said for model in directories if (said := _reads_unknown(model))})
    yield from sorted({said for arm in arms if (said := _edge_is_cloud(arm))})
    yield from _not_asked(spec, arms)
    if scored and len(arms) > len(spec.groups):
        yield from _of_text(spec, scored)


def _of_text(spec: Spec, scored: int) -> Iterator[str]:
    """Yield notes about a text that is too short for so many tokens, or for a window; and about few windows.

    A token holds at least a byte, but for one before a text that some tokenizers add, and one that begins it.
    """
    window, windows = spec.drift.window, max(scored // spec.drift.window, 1)
    if is_file_of_text(spec.drift.text):
        size = len(read_text(spec.drift.text).encode())
        if size + 2 < window:
            yield (
                f"drift.text has {size:,} bytes, which are less than a window of {window} tokens: that drift "
                "will not be measured"
            )
            return
        if size < scored * BYTES_A_TOKEN:
            yield f"drift.text has {size:,} bytes, in which may be fewer than the {scored:,} tokens asked for"
        windows = min(windows, (size + 2) // window)
    if windows < LEAST_SAMPLES:
        yield f"drift rests on {count(windows, 'window')} of text, too few for an interval"


def _arms(spec: Spec) -> list[Arm]:
    return [arm for group in spec.groups for arm in group.arms]


def _no_template(arm: Arm) -> str | None:
    """Return a note if chat prompts will be read as plain text because the model has no chat template.

    Returns None if neither the model's files nor its card show this.
    """
    if is_server(arm.runtime) or arm.runtime.task or isinstance(arm.model, Random):
        return None
    if not any(prompt.chat for prompt in plugins.load("workloads", arm.workload.name).prompts(arm.workload)):
        return None
    if isinstance(arm.model, LocalPath):
        missing = not has_template(arm.model.path)
    else:
        missing = isinstance(arm.model, Named) and find_model(arm.model.name).chat_template is False
    if not missing:
        return None
    return f"{model_words(arm.model)} has no chat template: chat prompts are read as plain text"


def _unpacked_when_used(arm: Arm) -> str | None:
    """Return a note if transformers makes dense weights of a packed checkpoint as it is first used."""
    if arm.runtime.name != HOME_ENGINE or not isinstance(arm.model, LocalPath) or is_gguf(arm.model.path):
        return None
    packed = packing(config_of(arm.model, find_model))
    if not packed or method_of(packed) != UNPACKED_WHEN_USED:
        return None
    return (
        f"{model_words(arm.model)} is packed by {UNPACKED_WHEN_USED}, of which transformers 5.17 makes dense "
        "weights when they are first used: then the row is not_applied; a serving engine keeps them packed"
    )


def _reads_unknown(model: LocalPath) -> str | None:
    """Return a note if the tokenizer of a model directory has tokens that the model does not know. It may be
    30 MB, so it is read once for all rows of the model."""
    said = None if is_gguf(model.path) else unknown_tokens(model.path)
    return f"{model_words(model)}: {said}" if said else None


def _edge_is_cloud(arm: Arm) -> str | None:
    """Return a note if both models of a cascade are one model: its answer would be asked for twice."""
    edge = edge_of(arm.optimise)
    if edge is None or edge.optimise or len(arm.optimise) > 1 or dict(arm.optimise[-1].params).get("cloud"):
        return None
    if not same_model(named_or_path(edge.model), arm.model):
        return None
    if edge.dtype not in (None, arm.runtime.dtype):
        return None
    return f"{arm.name}: its edge model is the large model itself, so what goes on gets the same answer again"


def _not_asked(spec: Spec, arms: Sequence[Arm]) -> Iterator[str]:
    """Yield a note for each cascade with a server, of which closed questions cannot be asked."""
    closed = ", ".join(suite.name for suite in suites_of(spec.drift.suites) if not suite.output_tokens)
    for arm in arms if closed else ():
        if edge_of(arm.optimise) is not None and dict(arm.optimise[-1].params).get("cloud"):
            yield f"{arm.name}: a server gives no likelihoods of choices, so it is not asked {closed}"


def _eager_on_gpu(arm: Arm) -> bool:
    """Return whether a row runs eagerly on a GPU: the GPU may then wait for each kernel to be launched."""
    ours = arm.runtime.name == HOME_ENGINE and device_here(arm.runtime.device) == "cuda"
    return ours and not any(step.verb == "compile" for step in arm.optimise)


def _other_card(spec: Spec, arms: Sequence[Arm]) -> Iterator[str]:
    """Yield a note if the price is for another GPU than the one that would be measured."""
    if spec.price.hardware is None:
        return
    price = price_called(spec.price.hardware)
    gpus = [gpu for device in {arm.runtime.device for arm in arms} if isinstance(gpu := gpu_for(device), Gpu)]
    for gpu in gpus[:1]:
        if reason := misfit_of_card(price, gpu.name):
            better = price_of_card(gpu.name, gpu.memory_bytes / GIB, whole_book()[0])
            yield reason + (f": did you mean {better}?" if better else "")
