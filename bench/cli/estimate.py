"""Estimate how much time and memory a config would take, before anything is loaded.

A model is described by the facts in its file (``models/*.yaml``), a machine by the ceilings that
`bench doctor --ceilings` kept, else by the rates below. These come from SmolLM2-135M under transformers on
two CPU cores (42 ms per float32 token, 26 ms in bfloat16); those of a GPU are a guess. Optimised rows are
counted as if nothing had been done to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from bench.cli.doctor import GIB, available_bytes
from bench.cli.listing import model_words
from bench.config.spec import Arm, Spec
from bench.config.support import device_here
from bench.drift.behaviour import Suite, suites_of
from bench.machine.devices import cpu_count
from bench.measure.designs import LEAST_BATCHES_ON_GPU
from bench.models.architecture import Architecture
from bench.models.reference import Hub, LocalPath, ModelRef, Random
from bench.models.registry import find_model
from bench.plan.ceilings import ceilings_here
from bench.plan.loaded import Loaded
from bench.plan.roofline import Ceilings, work
from bench.records import Json

BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2}
LAYER_S = 0.0006  # Python and kernel launches, for each layer and step
CPU_RATES = Ceilings(12e9, 80e9, LAYER_S)  # bytes/s and FLOP/s of one thread, as transformers reaches them
GPU_RATES = Ceilings(1e12, 50e12, LAYER_S)
START_S, READ_BYTES_PER_S = 4.0, 1e9  # importing the engine; reading weights from the disk
DRIFT_VALUE_S = 15e-9  # softmax and KL of two models, for each position and vocabulary entry
PROMPT_TOKENS = 50  # assumed of a chat prompt or a line of a file, before a tokenizer reads it
UNTIMED_REQUESTS = 3  # for memory and for kernels, and the warm-up of a baseline alone
TRAINING_SIZES = ("steps", "batch", "tokens")  # their product is the number of training tokens
LETTERS_A_TOKEN, REPLIES_TOGETHER = 4, 4  # of the items of suites: about
PROCESS_BYTES = 450_000_000  # a worker with its engine, before any weights
ASSUMED = "12 GB/s and 80 GFLOP/s a CPU thread (1 TB/s and 50 TFLOP/s a GPU)"
KEPT = "the ceilings of this machine (`bench doctor --ceilings`)"


def assumptions(spec: Spec) -> str:
    """Say on what the estimate rests."""
    runtimes = {(arm.runtime.device, arm.runtime.threads, arm.runtime.dtype) for arm in _runnable(spec)}
    known = [_kept(*runtime) is not None for runtime in runtimes]
    rates = " or ".join(
        words for words, there in ((KEPT, any(known)), (ASSUMED, not all(known) or not known)) if there
    )
    return (
        f"estimated, not measured: {rates}, 0.6 ms a layer and step; models already fetched; optimised rows "
        "as slow and as large as if not optimised"
    )


def most_pairs(spec: Spec) -> int:
    """Return the largest number of pairs of processes that a row may have."""
    return spec.measure.processes * spec.measure.max_rounds


@dataclass(frozen=True)
class Load:
    """An arm with its model's facts, and what it may expect of the machine."""

    arm: Arm
    facts: Architecture
    rates: Ceilings

    @property
    def weights_bytes(self) -> int:
        """Return the size of the parameters in the dtype in which they are loaded."""
        return self.facts.weights_bytes(8 * BYTES_OF[self.arm.runtime.dtype])

    @property
    def serving_bytes(self) -> int:
        """Return the size of the process, the weights and the KV cache together."""
        load = self.arm.workload
        tokens = (load.input_tokens or PROMPT_TOKENS) + load.output_tokens
        kv_bytes = load.batch_size * self.facts.cache_bytes(tokens, BYTES_OF[self.arm.runtime.dtype])
        return PROCESS_BYTES + self.weights_bytes + kv_bytes

    def pass_s(self, tokens: int, outputs: int | None = None) -> float:
        """Return the time of one forward pass over ``tokens``, with logits for ``outputs`` of them or for all
        (the roofline of `bench plan`, without attention)."""
        item_bytes = BYTES_OF[self.arm.runtime.dtype]
        loaded = Loaded(self.facts, 8 * item_bytes, item_bytes, expanded=True)
        return work(loaded, self.rates, tokens, 0.0, 0.0, tokens if outputs is None else outputs).seconds

    @property
    def batch_s(self) -> float:
        """Return the time of one batch of requests."""
        load = self.arm.workload
        prompt_s = self.pass_s(load.batch_size * (load.input_tokens or PROMPT_TOKENS), load.batch_size)
        return prompt_s + (load.output_tokens - 1) * self.pass_s(load.batch_size)

    @property
    def round_s(self) -> float:
        """Return the time of the whole workload, decoded once."""
        return batches(self.arm) * self.batch_s

    @property
    def load_s(self) -> float:
        """Return the time to start the process and load the model."""
        return START_S + self.weights_bytes / READ_BYTES_PER_S

    @property
    def alone_s(self) -> float:
        """Return the time of everything that is done with a loaded model without the baseline."""
        return self.round_s + UNTIMED_REQUESTS * self.batch_s

    def pair_s(self, base: Load, processes: int) -> float:
        """Return the time of a fresh pair.

        Both sides load and warm up at the same time, then decode their share in turns.
        """
        sides = (base, self)
        begun_s = max(one.load_s + one.arm.workload.warmup * one.batch_s for one in sides)
        each = -(-batches(self.arm) // processes)
        if device_here(self.arm.runtime.device) == "cuda":
            each = max(each, LEAST_BATCHES_ON_GPU)
        return begun_s + each * sum(one.batch_s for one in sides)

    @property
    def trainings_s(self) -> dict[object, float]:
        """Return the time of each training, by the model and the steps up to it; equal ones are done once.

        A training uses all processors, and per token and parameter 2 FLOP for the teacher and 6 for the
        student.
        """
        flop_per_s = _rates(self.arm.runtime.device, None, "float32").flop_per_s
        found: dict[object, float] = {}
        for place, step in enumerate(self.arm.optimise, 1):
            settings = dict(step.params)
            sizes = [size for name in TRAINING_SIZES if isinstance(size := settings.get(name), int)]
            if step.verb == "distil" and len(sizes) == len(TRAINING_SIZES):
                flop = 8 * self.facts.active * math.prod(sizes)
                found[self.arm.model, self.arm.optimise[:place]] = flop / flop_per_s
        return found


def batches(arm: Arm) -> int:
    """Return in how many batches the workload is decoded."""
    return -(-arm.workload.requests // arm.workload.batch_size)


def _runnable(spec: Spec) -> list[Arm]:
    return [arm for group in spec.groups for arm in group.arms if not arm.unsupported]


def _kept(device: str, threads: int | None, dtype: str) -> Ceilings | None:
    """Return the ceilings that were measured on this CPU with so many threads; None if they were not."""
    if device_here(device) == "cuda":
        return None
    found = ceilings_here("cpu", threads or cpu_count(), dtype)
    return None if found is None else replace(found, layer_s=LAYER_S)


def _rates(device: str, threads: int | None, dtype: str) -> Ceilings:
    """Return what this machine reaches: as measured and kept, else as assumed."""
    if device_here(device) == "cuda":
        return GPU_RATES
    return _kept(device, threads, dtype) or CPU_RATES.shared(threads or cpu_count())


def _facts(model: ModelRef) -> Architecture | None:
    """Return the facts in a known model's file, at the size asked for; None for any other model."""
    if isinstance(model, Hub | LocalPath):
        return None
    known = find_model(model.name)
    return (known.sized(model.size) if isinstance(model, Random) else known).architecture


def estimate(spec: Spec) -> str:
    """Return the time and memory of the whole run in words; both are unknown without a model's size."""
    fixed_s = pair_s = 0.0
    largest_bytes, facts_of, rates_of = 0, cache(_facts), cache(_rates)
    trainings: dict[object, float] = {}
    asked = [(suite, suite.items(spec.drift.items)) for suite in suites_of(spec.drift.suites)]
    for group in spec.groups:
        loads = []
        for arm in (group.baseline, *(one for one in group.variants if not one.unsupported)):
            if (facts := facts_of(arm.model)) is None:
                return f"time and memory unknown: no facts about {model_words(arm.model)} before it is loaded"
            runtime = arm.runtime
            rates = rates_of(runtime.device, runtime.threads, runtime.dtype)
            loads.append(Load(arm, facts, rates))
        base, *variants = loads
        for one in variants:
            trainings |= one.trainings_s
        fixed_s += sum(_suites_s(asked, one) for one in loads)
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


def _suites_s(asked: Sequence[tuple[Suite, Sequence[Json]]], load: Load) -> float:
    """Return the time of the behaviour suites: a pass for each choice, or a short reply for each item."""
    if isinstance(load.arm.model, Random):
        return 0.0
    found = 0.0
    for suite, items in asked:
        for item in items:
            tokens = max(len(item["prompt"]) // LETTERS_A_TOKEN, 1)
            found += len(item.get("choices", (1,))) * load.pass_s(tokens)
        found += len(items) / REPLIES_TOGETHER * suite.output_tokens * load.pass_s(1)
    return found


def _about(seconds: float) -> str:
    """Round seconds to tens of seconds, minutes or hours: an estimate has no more digits."""
    if seconds < 90:
        return f"{max(round(seconds / 10), 1) * 10} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
