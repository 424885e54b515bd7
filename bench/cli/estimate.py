"""Estimate how much time and memory a config would take, before anything is loaded.

A model is described by the facts in its file (``models/*.yaml``) or in its directory, and a machine by the
ceilings that `bench doctor --ceilings` stored, or else by the rates below. The rates of a CPU come from
SmolLM2-135M under transformers on two cores (42 ms per float32 token, 26 ms in bfloat16); those of a GPU are
a guess. Optimised rows are estimated as if they were not optimised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from bench.cli.doctor import available_bytes
from bench.cli.drift_time import Asked, asked_of, drift_s, floors_s, learning_s, suites_s, together_s
from bench.cli.expected import Beside, Load
from bench.cli.list_pages import model_words
from bench.config.cascade_questions import FORMS, questions
from bench.config.cascades import edge_runtime
from bench.config.settings import RuntimeBlock
from bench.config.spec import Arm, Group, Spec
from bench.config.support import device_here
from bench.formatting import GIB
from bench.machine.devices import cpu_count
from bench.measure.arm import models_of
from bench.models.architecture import Architecture
from bench.models.directory_facts import facts_of
from bench.models.reference import Hub, LocalPath, ModelRef, Random
from bench.models.registry import find_model
from bench.optimisations import routes
from bench.plan.ceilings import ceilings_here
from bench.plan.roofline import Ceilings

LAYER_S = 0.0006  # overhead of Python and kernel launches per layer and step
CPU_RATES = Ceilings(12e9, 80e9, LAYER_S)  # bytes/s and FLOP/s that transformers reaches with one thread
GPU_RATES = Ceilings(1e12, 50e12, LAYER_S)
TRAINING_SIZES = ("steps", "batch", "tokens")  # their product is the number of training tokens
ASSUMED = "12 GB/s and 80 GFLOP/s a CPU thread (1 TB/s and 50 TFLOP/s a GPU), 0.6 ms a layer and step"
SECOND = "a cascade as if each request went on (the most it can take), and drafts as if none was right"
KEPT = "the ceilings of this machine (`bench doctor --ceilings`)"


def assumptions(spec: Spec) -> str:
    """Say what the estimate assumes."""
    runtimes = {(arm.runtime.device, arm.runtime.threads, arm.runtime.dtype) for arm in _runnable(spec)}
    known = [_kept(*runtime) is not None for runtime in runtimes]
    rates = " or ".join(
        words for words, used in ((KEPT, any(known)), (ASSUMED, not all(known) or not known)) if used
    )
    drafts = any(models_of(step, arm.place) for arm in _runnable(spec) for step in arm.optimise)
    second = f"; {SECOND}" if drafts else ""
    return (
        f"estimated, not measured: {rates}; models already fetched; optimised rows "
        f"as slow and as large as if not optimised{second}"
    )


def most_pairs(spec: Spec) -> int:
    """Return the largest number of pairs of processes that a row may have."""
    return spec.measure.processes * spec.measure.max_rounds


def _trainings_s(load: Load) -> dict[object, float]:
    """Return the seconds of each training of a row.

    The keys identify a training by its model and steps, because equal trainings are done only once. A
    training uses all processors, with 2 FLOP per token and parameter for the teacher and 6 for the student.
    The learnt rule of a cascade is trained on the answers of both models.
    """
    flop_per_s = _rates(load.arm.runtime.device, None, "float32").flop_per_s
    trainings_s: dict[object, float] = {}
    for place, step in enumerate(load.arm.optimise, 1):
        settings = dict(step.params)
        sizes = [size for name in TRAINING_SIZES if isinstance(size := settings.get(name), int)]
        if step.verb == "distil" and len(sizes) == len(TRAINING_SIZES):
            flop = 8 * load.facts.active * math.prod(sizes)
            trainings_s[load.arm.model, load.arm.optimise[:place]] = flop / flop_per_s
    for edge in load.beside:
        trainings_s |= _trainings_s(edge.load)
        if edge.asked:
            trainings_s[_pair(load.arm, edge.load.arm)] = learning_s(load, edge)
    return trainings_s


def _pair(arm: Arm, edge: Arm) -> object:
    """Return the key of a trained rule: it depends on both models with their steps, and on the questions."""
    learns = next(dict(step.params) for step in arm.optimise if routes(step.verb))
    sides = [
        (side.model, side.runtime.dtype, side.optimise)
        for side in (replace(arm, optimise=arm.optimise[:-1]), edge)
    ]
    return (*sides, *(learns[form] for form in FORMS))


def _runnable(spec: Spec) -> list[Arm]:
    return [arm for group in spec.groups for arm in group.arms if not arm.unsupported]


def _kept(device: str, threads: int | None, dtype: str) -> Ceilings | None:
    """Return the stored ceilings of this CPU for a number of threads, or None if they were not measured."""
    if device_here(device) == "cuda":
        return None
    return ceilings_here("cpu", threads or cpu_count(), dtype)


def _rates(device: str, threads: int | None, dtype: str) -> Ceilings:
    """Return the rates of this machine: the measured ones if they are stored, else the assumed ones."""
    if device_here(device) == "cuda":
        return GPU_RATES
    return _kept(device, threads, dtype) or CPU_RATES.shared(threads or cpu_count())


def _facts(model: ModelRef) -> Architecture | None:
    """Return the facts of a known model at the configured size, or of a directory; None if there are none."""
    if isinstance(model, LocalPath):
        return facts_of(model.path)
    if isinstance(model, Hub):
        return None
    known = find_model(model.name)
    return (known.sized(model.size) if isinstance(model, Random) else known).architecture


@dataclass(frozen=True)
class Known:
    """Cached functions that look up the facts of a model, and the rates of this machine."""

    facts: Callable[[ModelRef], Architecture | None]
    rates: Callable[[str, int | None, str], Ceilings]


class NoFacts(Exception):
    """Raised for a model of which nothing is known before it is loaded."""

    def __init__(self, model: ModelRef) -> None:
        super().__init__(f"no facts about {model_words(model)} before it is loaded")
        self.model = model


def estimate(spec: Spec) -> str:
    """Return the time and memory of the whole run in words. Raises NoFacts if nothing is known of a model."""
    known = Known(cache(_facts), cache(_rates))
    groups = [_loads(group, known) for group in spec.groups]
    asked = asked_of(spec.drift)
    fixed_s = math.fsum(_fixed_s(spec, loads, asked, known) for loads in groups)
    processes = spec.measure.processes
    pair_s = math.fsum(load.pair_s(loads[0], processes) for loads in groups for load in _paired(loads))
    largest_bytes = max(map(_largest_bytes, groups), default=0)
    trainings: dict[object, float] = {}
    for variant in (load for loads in groups for load in loads[1:]):
        trainings |= _trainings_s(variant)
    took = dict.fromkeys(_about(fixed_s + pair_s * n) for n in (processes, most_pairs(spec)))
    free = available_bytes()
    tight = f"; only {free / GIB:.1f} GiB are free" if free is not None and free < largest_bytes else ""
    room = f"{largest_bytes / GIB:.1f} GiB of memory while two rows are in it{tight}"
    training = f", {_about(sum(trainings.values()))} of training the first time" if trainings else ""
    return f"{' to '.join(took)}{training}, and {room}"


def _loads(group: Group, known: Known) -> list[Load]:
    """Return the loads of the rows of a cell that can run, the baseline first.

    Raises NoFacts if nothing is known of a model.
    """
    arms = (group.baseline, *(arm for arm in group.variants if not arm.unsupported))
    return [_load(arm, arm.model, arm.runtime, known) for arm in arms]


def _load(arm: Arm, model: ModelRef, runtime: RuntimeBlock, known: Known) -> Load:
    facts = known.facts(model)
    if facts is None:
        raise NoFacts(model)
    rates = known.rates(runtime.device, runtime.threads, runtime.dtype)
    return Load(replace(arm, model=model, runtime=runtime), facts, rates, tuple(_beside(arm, known)))


def _beside(arm: Arm, known: Known) -> Iterator[Beside]:
    """Yield the second models of an arm: the edge model of a cascade, or a draft model."""
    for step in arm.optimise:
        settings = dict(step.params)
        for model in models_of(step, arm.place).values():
            if routes(step.verb):
                yield _edge(arm, model, settings, known)
            else:
                drafts = settings.get("tokens")
                most = drafts if isinstance(drafts, int) else 1
                yield Beside(_load(replace(arm, optimise=()), model, arm.runtime, known), most)


def _edge(arm: Arm, model: ModelRef, settings: Mapping[str, Any], known: Known) -> Beside:
    """Return the edge model of a cascade, with the additional work that the rule of the cascade needs."""
    edge, samples = settings["edge"], settings.get("samples", 0)
    asked = (questions(settings) or {}).values()
    return Beside(
        _load(replace(arm, optimise=edge.optimise), model, edge_runtime(arm.runtime, edge), known),
        samples=samples,
        asked=tuple((form["tokens"], form["items"]) for form in asked),
    )


def _paired(loads: Sequence[Load]) -> list[Load]:
    """Return the rows that are measured in turns with their baseline: those with the same workload."""
    return [load for load in loads[1:] if load.arm.workload == loads[0].arm.workload]


def _fixed_s(spec: Spec, loads: Sequence[Load], asked: Asked, known: Known) -> float:
    """Return the seconds of everything that is done once in a cell, whatever the number of pairs."""
    base, *variants = loads
    alone = [base, *(load for load in variants if load.arm.workload != base.arm.workload)]
    parts_s = [load.alone_s + suites_s(asked, load) for load in loads]
    parts_s += [load.load_s for load in alone]
    parts_s += [drift_s(spec, base, load) for load in variants]
    return math.fsum((*parts_s, floors_s(spec, base, known.rates), together_s(base)))


def _largest_bytes(loads: Sequence[Load]) -> int:
    """Return the bytes of the baseline and the largest row together.

    The row's weights count twice, because for a while there are two copies of them in memory.
    """
    base, *variants = loads
    second = max((load.serving_bytes + load.weights_bytes for load in variants), default=base.weights_bytes)
    return base.serving_bytes + second


def _about(seconds: float) -> str:
    """Write seconds rounded to tens of seconds, minutes or tenths of an hour: it is only an estimate."""
    if seconds < 90:
        return f"{max(round(seconds / 10), 1) * 10} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
