"""Describe what a config would do: its rows, what is measured, the price, an estimate. Nothing is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench import plugins
from bench.cli.check_drift import drift_words
from bench.cli.estimate import assumptions, estimate, most_pairs
from bench.cli.expected import batches
from bench.cli.listing import NO_STEPS, align, arm_words, model_words, terminal_width
from bench.config.blocks import LimitBlock
from bench.config.loadable import context_of
from bench.config.room import one_after_other
from bench.config.served import is_server
from bench.config.spec import Arm, Group, Spec
from bench.config.steps import HOME_ENGINE
from bench.config.support import device_here
from bench.formatting import count, printable
from bench.machine.devices import cpu_count
from bench.machine.gpus import cautions as cautions_of_gpus
from bench.machine.gpus import gpu_for
from bench.machine.nvml import GIB, Gpu
from bench.measure import designs
from bench.measure.clock import utc_now
from bench.measure.served import ALONE_BLOCKS
from bench.models.reference import LocalPath, Named, Random
from bench.models.registry import find_model
from bench.models.templates import has_template
from bench.pricing.book import default_book, price_called
from bench.pricing.cards import misfit_of_card, price_of_card
from bench.pricing.hour import cautions
from bench.pricing.reprice import plain
from bench.records.grid import MAY_BE_CONFOUNDED, quantises
from bench.stats.intervals import LEAST_SAMPLES

EAGER_BASELINE = (
    "the baseline is eager on a GPU: the processor that launches its kernels may bound its steps, and then "
    "it is the wrong yardstick; add `optimise: [{compile: inductor, mode: reduce-overhead}]`"
)
MOST_ROWS = 50  # printed in full; a config may have 2,000
MOST_KINDS = 5  # of the others that are named


def describe(spec: Spec) -> str:
    """Return the expanded plan: a line for each row, why a row cannot run here, and the estimate."""
    arms = [arm for group in spec.groups for arm in group.arms]
    skipped = sum(arm.unsupported is not None for arm in arms)
    cannot = f", {skipped} of them cannot run here" if skipped else ""
    parts = [f"{spec.name} ({spec.file}): {count(len(arms), 'row')}{cannot}"]
    shown, hidden = _first(spec.groups)
    for group in shown:
        parts += ["", *(f"  {line}" for line in _rows(group))]
    if hidden:
        parts += ["", f"  {_more(hidden)}"]
    facts = [
        ("measured", _measured(spec)),
        ("drift", drift_words(spec)),
        ("price", _price(spec)),
        *(("gate", f"{key}: {_limit(limit)}") for key, limit in spec.gate),
        *_estimated(spec),
        *(("note", line) for line in _notes(spec, arms)),
    ]
    lines = [*parts, "", *(f"  {line}" for line in align(facts, terminal_width()))]
    return printable("\n".join(line.rstrip() for line in lines))


def _first(groups: Sequence[Group]) -> tuple[list[Group], list[Arm]]:
    """Return the groups with their first rows, and the rows that are too many to print."""
    shown, hidden, room = list[Group](), list[Arm](), MOST_ROWS
    for group in groups:
        arms, room = group.arms[:room], max(room - len(group.arms), 0)
        if arms:
            shown.append(replace(group, variants=arms[1:]))
        hidden += group.arms[len(arms) :]
    return shown, hidden


def _more(arms: Sequence[Arm]) -> str:
    """Say in a line how many rows are left out, and of what kinds."""
    kinds = Counter(arm_words(arm)[2] for arm in arms).most_common()
    said = [
        f"{number} {'not optimised' if words == NO_STEPS else words}" for words, number in kinds[:MOST_KINDS]
    ]
    if others := sum(number for _words, number in kinds[MOST_KINDS:]):
        said.append(f"{others} of {count(len(kinds) - MOST_KINDS, 'other kind')}")
    cannot = sum(arm.unsupported is not None for arm in arms)
    unable = f"; {cannot} of them cannot run here" if cannot else ""
    return f"and {count(len(arms), 'more row')}: {', '.join(said)}{unable}"


def _rows(group: Group) -> Iterator[str]:
    """Yield what all rows share, then a line for each row, followed by the reason if it cannot run here."""
    names = ("model", "runtime", "optimised by", "workload")
    cells = [arm_words(arm) for arm in group.arms]
    shared = [len(set(column)) == 1 and len(cells) > 1 for column in zip(*cells, strict=True)]
    if group.label:
        yield f"[{group.label}]"
    shared_by_all = [(n, cell) for n, cell, same in zip(names, cells[0], shared, strict=True) if same]
    yield from (*align(shared_by_all), *([""] if shared_by_all else []))
    table = [
        (name, *(cell for cell, same in zip(row, shared, strict=True) if not same))
        for name, row in zip(["row", *(arm.name for arm in group.arms)], [names, *cells], strict=True)
    ]
    header, *lines = align(table)
    yield header
    for arm, line in zip(group.arms, lines, strict=True):
        yield line
        if arm.unsupported:
            yield f"  cannot run here: {arm.unsupported}"


def _served(spec: Spec) -> bool:
    return any(is_server(group.baseline.runtime) for group in spec.groups)


def _measured(spec: Spec) -> str:
    if _served(spec):
        return _under_load(spec)
    alone = "each row alone: latency, throughput, memory, and energy where there is a counter"
    least, half = spec.measure.processes, spec.measure.max_half_width
    if not any(group.variants for group in spec.groups):
        return f"{alone}; nothing is compared: there are no variants"
    pairs = f"fresh pairs of processes {_in_turns(spec)}"
    if spec.measure.max_rounds == 1:
        return f"{alone}; {least} {pairs}"
    return f"{alone}; {least} to {most_pairs(spec)} {pairs}, until the cost ratio is ±{half:.1%}"


def _in_turns(spec: Spec) -> str:
    """Say how the sides of a pair share the machine, by the devices of the config's rows."""
    wanted = spec.measure.design
    kinds = {device_here(arm.runtime.device) == "cuda" for group in spec.groups for arm in group.arms}
    chosen = {designs.chosen(wanted, on_gpu=on_gpu) for on_gpu in kinds}
    if chosen == {designs.STEPS}:
        return "in turns with the baseline"
    words = {designs.REQUESTS: "in turns by request", designs.ABBA: "one after the other"}
    return " or ".join(words.get(one, "in turns by token") for one in sorted(chosen))


def _estimated(spec: Spec) -> list[tuple[str, str]]:
    """Return the estimate, and what it assumes; none for servers, whose speed is what is to be found out."""
    if _served(spec):
        return []
    return [("estimate", estimate(spec)), ("", assumptions(spec))]


def _under_load(spec: Spec) -> str:
    """Say how servers are measured."""
    least, most = spec.measure.processes, most_pairs(spec)
    pairs = f"{least}" if most == least else f"{least} to {most}"
    each = f"the baseline alone in {ALONE_BLOCKS} blocks of the workload"
    return f"{each}; each variant in {pairs} pairs of servers with the baseline, four blocks a pair (A B B A)"


def _price(spec: Spec) -> str:
    used = f"used {spec.price.utilisation:.0%} of the time"
    if spec.price.hardware is None:
        return f"{spec.price.usd_per_hour:g} USD/h, given in the config, {used}"
    price = price_called(spec.price.hardware)
    return f"{price.id}: {price.hourly_usd:.4g} USD/h on {price.date}, {used} ({price.name})"


def _limit(limit: LimitBlock) -> str:
    return ", ".join(f"{key} {value}" for key, value in limit.model_dump(exclude_none=True).items())


def _no_template(arm: Arm) -> str | None:
    """Say that chat prompts will be read as plain text, where the files of the model or its card show it."""
    if is_server(arm.runtime) or isinstance(arm.model, Random):
        return None
    if not any(one.chat for one in plugins.load("workloads", arm.workload.name).prompts(arm.workload)):
        return None
    if isinstance(arm.model, LocalPath):
        missing = not has_template(arm.model.path)
    else:
        missing = isinstance(arm.model, Named) and find_model(arm.model.name).chat_template is False
    if not missing:
        return None
    return f"{model_words(arm.model)} has no chat template: chat prompts are read as plain text"


def _eager_on_gpu(arm: Arm) -> bool:
    """Return whether a row would launch each kernel of a step by itself, on a GPU that may wait for that."""
    ours = arm.runtime.name == HOME_ENGINE and device_here(arm.runtime.device) == "cuda"
    return ours and not any(step.verb == "compile" for step in arm.optimise)


def _other_card(spec: Spec, arms: Sequence[Arm]) -> Iterator[str]:
    """Yield a note if the price is of another card than the one that would be measured."""
    if spec.price.hardware is None:
        return
    price = price_called(spec.price.hardware)
    gpus = [gpu for device in {arm.runtime.device for arm in arms} if isinstance(gpu := gpu_for(device), Gpu)]
    for gpu in gpus[:1]:
        if reason := misfit_of_card(price, gpu.name):
            better = price_of_card(gpu.name, gpu.memory_bytes / GIB, default_book())
            yield reason + (f": did you mean {better}?" if better else "")


def _notes(spec: Spec, arms: Sequence[Arm]) -> Iterator[str]:
    if spec.price.hardware is not None:
        yield from cautions(plain(price_called(spec.price.hardware)), utc_now()[:10])
    yield from _other_card(spec, arms)
    yield from cautions_of_gpus({arm.runtime.device for arm in arms if not arm.unsupported})
    yield from one_after_other(spec.groups, find_model)
    for threads in sorted({arm.runtime.threads or 0 for arm in arms}):
        if threads > cpu_count():
            yield f"{threads} threads on {count(cpu_count(), 'processor')}: they will wait for each other"
    for group in spec.groups:
        if _eager_on_gpu(group.baseline):
            yield EAGER_BASELINE
            break
    if most_pairs(spec) == 1 and len(arms) > len(spec.groups):
        yield "a ratio rests on a single pair of processes: how far pairs lie apart is not seen"
    apart = {
        batches(one)
        for group in spec.groups
        for arm in group.variants
        if arm.workload != group.baseline.workload and not is_server(arm.runtime)
        for one in (arm, group.baseline)
    }
    if apart and min(apart) < LEAST_SAMPLES:
        yield f"a ratio of two workloads rests on {min(apart)} batches on one side, too few for an interval"
    ggufs = [arm for arm in arms if isinstance(arm.model, LocalPath) and arm.model.path.suffix == ".gguf"]
    if any(quantises(step.label for step in arm.optimise) for arm in ggufs):
        yield MAY_BE_CONFOUNDED
    lengths = [found for arm in arms if (found := context_of(arm.model)) is not None]
    scored = 0 if _served(spec) else spec.drift.tokens
    if scored and lengths and spec.drift.window > min(lengths):
        yield (
            f"drift.window of {spec.drift.window} does not fit a context of {min(lengths)}: that drift will "
            "not be measured"
        )
    yield from sorted({said for arm in arms if (said := _no_template(arm))})
    windows = max(scored // spec.drift.window, 1)
    if scored and windows < LEAST_SAMPLES and len(arms) > len(spec.groups):
        yield f"drift rests on {count(windows, 'window')} of text, too few for an interval"
