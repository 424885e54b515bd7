"""What a config would do, as text: the rows, what is measured, the price, and an estimate. Nothing is loaded.

The estimate knows a model by the facts in its file (``models/*.yaml``) and a machine by the rates below. They
come from SmolLM2-135M under transformers on two CPU cores (42 ms a float32 token, 26 ms in bfloat16); on a
GPU they are a guess. Optimised rows are counted as if nothing had been done to them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from bench.arms import device_here
from bench.listing import align, arm_words, count, model_words, terminal_width
from bench.machine.devices import cpu_count
from bench.machine.health import GIB, available_bytes
from bench.models.reference import Hub, LocalPath, ModelRef, Random
from bench.models.registry import Architecture, find_model
from bench.pricing.reprice import price_called
from bench.spec import Arm, Group, LimitBlock, Spec
from bench.stats.intervals import LEAST_SAMPLES
from bench.units import printable

BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2}
CPU_RATES = (12e9, 80e9)  # bytes/s and FLOP/s of one thread, as transformers reaches them
GPU_RATES = (1e12, 50e12)
LAYER_S = 0.0006  # Python and kernel launches, a layer and step
START_S, READ_BYTES_PER_S = 6.0, 1e9  # imports of the engine; weights from the disk
DRIFT_VALUE_S = 15e-9  # softmax and KL of two models, a position and vocabulary entry
PROMPT_TOKENS = 50  # of a chat prompt or a line of a file, unknown before a tokenizer reads it
UNTIMED_REQUESTS = 6  # warm-up, memory and energy
TRAINING_SIZES = ("steps", "batch", "tokens")  # multiplied: the tokens that are trained on
PROCESS_BYTES = 450_000_000  # a worker with its engine, before any weights
ASSUMPTIONS = (
    "estimated, not measured: 12 GB/s and 80 GFLOP/s a CPU thread (1 TB/s and 50 TFLOP/s a GPU), 0.6 ms a "
    "layer and step; models already fetched; optimised rows as slow and as large as if not optimised"
)


def describe(spec: Spec) -> str:
    """The expanded plan, a line a row, with what cannot run here and why, and the estimate."""
    arms = [arm for group in spec.groups for arm in group.arms]
    skipped = sum(arm.unsupported is not None for arm in arms)
    cannot = f", {skipped} of them cannot run here" if skipped else ""
    parts = [f"{spec.name} ({spec.file}): {count(len(arms), 'row')}{cannot}"]
    for group in spec.groups:
        parts += ["", *(f"  {line}" for line in _rows(group))]
    facts = [
        ("measured", _measured(spec)),
        ("drift", _drift(spec)),
        ("price", _price(spec)),
        *(("gate", f"{key}: {_limit(limit)}") for key, limit in spec.gate),
        ("estimate", _estimate(spec)),
        ("", ASSUMPTIONS),
        *(("note", line) for line in _notes(spec, arms)),
    ]
    lines = [*parts, "", *(f"  {line}" for line in align(facts, terminal_width()))]
    return printable("\n".join(line.rstrip() for line in lines))


def _rows(group: Group) -> Iterator[str]:
    """What all rows share, a line each; then a line a row; under it, why it cannot run here."""
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


def _measured(spec: Spec) -> str:
    alone = "each row alone: latency, throughput, memory, and energy where there is a counter"
    least, half = spec.measure.processes, spec.measure.max_half_width
    if not any(group.variants for group in spec.groups):
        return f"{alone}; nothing is compared: there are no variants"
    pairs = "fresh pairs of processes in turns with the baseline"
    if spec.measure.max_rounds == 1:
        return f"{alone}; {least} {pairs}"
    return f"{alone}; {least} to {most_pairs(spec)} {pairs}, until the cost ratio is ±{half:.1%}"


def most_pairs(spec: Spec) -> int:
    """Pairs of processes that a row has at most."""
    return spec.measure.processes * spec.measure.max_rounds


def _drift(spec: Spec) -> str:
    if not spec.drift.tokens:
        return "not measured: drift.tokens is 0"
    if all(isinstance(arm.model, Random) for group in spec.groups for arm in group.arms):
        return "not measured: random weights have no quality to lose"
    where = f"{spec.drift.tokens} tokens of {spec.drift.text!r} in windows of {spec.drift.window}"
    return f"{where}, and the replies, against the baseline's"


def _price(spec: Spec) -> str:
    used = f"used {spec.price.utilisation:.0%} of the time"
    if spec.price.hardware is None:
        return f"{spec.price.usd_per_hour:g} USD/h, given in the config, {used}"
    price = price_called(spec.price.hardware)
    return f"{price.id}: {price.hourly_usd:.4g} USD/h on {price.date}, {used} ({price.name})"


def _limit(limit: LimitBlock) -> str:
    return ", ".join(f"{key} {value}" for key, value in limit.model_dump(exclude_none=True).items())


def _notes(spec: Spec, arms: Sequence[Arm]) -> Iterator[str]:
    for threads in sorted({arm.runtime.threads or 0 for arm in arms}):
        if threads > cpu_count():
            yield f"{threads} threads on {count(cpu_count(), 'processor')}: they will wait for each other"
    if most_pairs(spec) == 1 and len(arms) > len(spec.groups):
        yield "a ratio rests on a single pair of processes: how far pairs lie apart is not seen"
    apart = {
        batches(one)
        for group in spec.groups
        for arm in group.variants
        if arm.workload != group.baseline.workload
        for one in (arm, group.baseline)
    }
    if apart and min(apart) < LEAST_SAMPLES:
        yield f"a ratio of two workloads rests on {min(apart)} batches on one side, too few for an interval"
    windows = max(spec.drift.tokens // spec.drift.window, 1)
    if spec.drift.tokens and windows < LEAST_SAMPLES and len(arms) > len(spec.groups):
        yield f"drift rests on {count(windows, 'window')} of text, too few for an interval"


# ---- the estimate --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What one arm asks of the machine: its model's facts, and the bytes/s and FLOP/s it may expect."""

    arm: Arm
    facts: Architecture
    rates: tuple[float, float]

    @property
    def weights_bytes(self) -> int:
        """Parameters in the dtype they are loaded in."""
        return self.facts.parameters * BYTES_OF[self.arm.runtime.dtype]

    @property
    def serving_bytes(self) -> int:
        """Process, weights and KV cache."""
        facts, load = self.facts, self.arm.workload
        tokens = load.batch_size * ((load.input_tokens or PROMPT_TOKENS) + load.output_tokens)
        item_bytes = BYTES_OF[self.arm.runtime.dtype]
        kv_bytes = tokens * 2 * facts.layers * facts.kv_heads * facts.head_dim * item_bytes
        return PROCESS_BYTES + self.weights_bytes + kv_bytes

    def pass_s(self, tokens: int) -> float:
        """One forward pass over ``tokens``: bound by memory or by arithmetic, plus a share a layer."""
        bytes_per_s, flop_per_s = self.rates
        multiply_s = 2 * self.facts.parameters * tokens / flop_per_s
        return max(self.weights_bytes / bytes_per_s, multiply_s) + self.facts.layers * LAYER_S

    @property
    def batch_s(self) -> float:
        """One batch of requests."""
        load = self.arm.workload
        prompt_s = self.pass_s(load.batch_size * (load.input_tokens or PROMPT_TOKENS))
        return prompt_s + (load.output_tokens - 1) * self.pass_s(load.batch_size)

    @property
    def round_s(self) -> float:
        """The workload once."""
        return batches(self.arm) * self.batch_s

    @property
    def load_s(self) -> float:
        """Start and load."""
        return START_S + self.weights_bytes / READ_BYTES_PER_S

    @property
    def alone_s(self) -> float:
        """Everything that happens to a loaded model without the baseline."""
        return self.round_s + UNTIMED_REQUESTS * self.batch_s

    def pair_s(self, base: Load, processes: int) -> float:
        """A fresh pair: both load and warm up at the same time, then decode their share in turns."""
        sides = (base, self)
        begun_s = max(one.load_s + one.arm.workload.warmup * one.batch_s for one in sides)
        return begun_s + -(-batches(self.arm) // processes) * sum(one.batch_s for one in sides)

    @property
    def trainings_s(self) -> dict[object, float]:
        """Each training by what comes before it, which is done once: on all processors, for a token and
        parameter 2 FLOP of the teacher and 6 of the student."""
        flop_per_s = _rates(self.arm.runtime.device, None)[1]
        found: dict[object, float] = {}
        for place, step in enumerate(self.arm.optimise, 1):
            settings = dict(step.params)
            sizes = [size for name in TRAINING_SIZES if isinstance(size := settings.get(name), int)]
            if step.verb == "distil" and len(sizes) == len(TRAINING_SIZES):
                flop = 8 * self.facts.parameters * math.prod(sizes)
                found[self.arm.model, self.arm.optimise[:place]] = flop / flop_per_s
        return found


def batches(arm: Arm) -> int:
    """How many batches the workload is decoded in."""
    return -(-arm.workload.requests // arm.workload.batch_size)


def _rates(device: str, threads: int | None) -> tuple[float, float]:
    """(bytes/s, FLOP/s) assumed of this machine."""
    if device_here(device) == "cuda":
        return GPU_RATES
    count = threads or cpu_count()
    return CPU_RATES[0] * count, CPU_RATES[1] * count


def _facts(model: ModelRef) -> Architecture | None:
    """What its file says of a known model, scaled to the layers asked for; None for any other."""
    if isinstance(model, Hub | LocalPath):
        return None
    facts = find_model(model.name).architecture
    if not isinstance(model, Random) or model.layers is None:
        return facts
    embeddings = facts.vocabulary * facts.hidden_size * (1 if facts.tied_embeddings else 2)
    layer = (facts.parameters - embeddings) // facts.layers
    return facts.model_copy(update={"layers": model.layers, "parameters": embeddings + layer * model.layers})


def _estimate(spec: Spec) -> str:
    """Time and memory of the whole run; unknown where a model's size is."""
    fixed_s = pair_s = 0.0
    largest_bytes, facts_of, rates_of = 0, cache(_facts), cache(_rates)
    trainings: dict[object, float] = {}
    for group in spec.groups:
        loads = []
        for arm in (group.baseline, *(one for one in group.variants if not one.unsupported)):
            if (facts := facts_of(arm.model)) is None:
                return f"time and memory unknown: no facts about {model_words(arm.model)} before it is loaded"
            loads.append(Load(arm, facts, rates_of(arm.runtime.device, arm.runtime.threads)))
        base, *variants = loads
        for one in variants:
            trainings |= one.trainings_s
        fixed_s += sum(one.alone_s for one in loads) + sum(_drift_s(spec, base, one) for one in variants)
        apart = [one for one in loads if one is base or one.arm.workload != base.arm.workload]
        fixed_s += sum(one.load_s for one in apart)
        pair_s += sum(one.pair_s(base, spec.measure.processes) for one in loads if one not in apart)
        second = max((one.serving_bytes + one.weights_bytes for one in variants), default=base.weights_bytes)
        largest_bytes = max(largest_bytes, base.serving_bytes + second)
    took = dict.fromkeys(_about(fixed_s + pair_s * n) for n in (spec.measure.processes, most_pairs(spec)))
    free = available_bytes()
    tight = f"; only {free / GIB:.1f} GiB are free" if free is not None and free < largest_bytes else ""
    room = f"{largest_bytes / GIB:.1f} GiB of memory while two models are in it{tight}"
    training = f", {_about(sum(trainings.values()))} of training the first time" if trainings else ""
    return f"{' to '.join(took)}{training}, and {room}"


def _drift_s(spec: Spec, base: Load, variant: Load) -> float:
    if isinstance(base.arm.model, Random) or isinstance(variant.arm.model, Random):
        return 0.0
    window = spec.drift.window
    values_s = window * base.facts.vocabulary * DRIFT_VALUE_S
    return spec.drift.tokens / window * (base.pass_s(window) + variant.pass_s(window) + values_s)


def _about(seconds: float) -> str:
    """Seconds to the ten, minutes, hours: no more digits than an estimate has."""
    if seconds < 90:
        return f"{max(round(seconds / 10), 1) * 10} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
