"""Find the kernels of one decode step with torch's profiler, for the report and as evidence of a scheme.

On CUDA the profiler attaches CUPTI to the process and leaves it attached: each later launch takes a quarter
to a half longer. So nothing may be timed in a process after its profile, and a process has one profile only,
because attaching CUPTI again beside CUDA graphs has crashed (see ``torch/profiler/profiler.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.engine import Engine
from bench.engine.stepping import probe, that_fit
from bench.errors import NotApplied, Outcome, VariantFailed
from bench.records import Json, Kernel, StepProfile

SHOWN = 6
STEPS = 4  # of a generation, at most: the prompt, one step before the profile, and two within
REMEMBERED = 20  # times fewer operators than a new request has; a step that computes has as many
NEW_TOKENS, NEW_SHIFT = 9, 41  # of a prompt that nobody has asked so far
EAGER = "bench: the step without its graph"
# The calls of the CUDA runtime and driver that give the GPU something to do.
LAUNCHES = re.compile(
    r"(cudaLaunch\w*|cuLaunchKernel\w*|cudaGraphLaunch\w*|cuGraphLaunch\w*|cudaMem(cpy|set)\w*Async\w*)$"
)


@dataclass
class Operator:
    """The events of one name, added up: how often it ran and for how many microseconds.

    ``device_us`` of an operator of the CPU is what it and its children ran on the GPU.
    """

    calls: int = 0
    self_us: float = 0.0
    device_us: float = 0.0
    on_device: bool = False


def of_a_step(
    engine: Engine, batch: Sequence[Sequence[int]], new_tokens: int, evidence: Sequence[Json]
) -> StepProfile:
    """Profile one decode step of a batch: its six largest operators (on CUDA, kernels) by self time,
    launches, and the time in which the GPU worked. There are none for an engine that does not use torch.

    The shapes are those of the timed requests: others could mean another graph, which is first recorded.

    Raises NotApplied if the kernel that a scheme must use is missing, and VariantFailed if a step shows that
    the request, which was timed before in this process, is answered from memory.
    """
    if not engine.TORCH:
        return StepProfile(())
    replayed = engine.facts().on_gpu and engine.compiled_graphs() > 0
    generation = engine.prefill(batch, max(new_tokens, STEPS))
    engine.step(generation)
    step, eager = _parted(_profiled(engine, generation, twice=replayed))
    names = _at_work(step) | _at_work(eager)
    for claim in evidence:
        pattern = claim.get("kernel_pattern")
        if pattern and not any(re.search(pattern, name) for name in names):
            raise NotApplied(f"{claim['step']}: no operator of a decode step matches {pattern!r}")
    if len(evidence) > 1 and not engine.facts().on_gpu:
        _must_compute(engine, len(batch), step, str(evidence[-1]["step"]))
    return StepProfile(tuple(_shares(step)[:SHOWN]), *_on_the_gpu(step))


def _must_compute(engine: Engine, rows: int, step: Sequence[Any], label: str) -> None:
    """Refuse a model that remembers what it answered. The passes repeat their requests, so its times would be
    those of looking answers up. Compiled steps and drafts, whose operators vary, are not held against it.

    This takes a second profile, so it is for a processor only.
    """
    if engine.compiled_graphs() or engine.speculated() is not None:
        return
    facts = engine.facts()
    length = that_fit(NEW_TOKENS, STEPS, facts.context)
    generation = engine.prefill([probe(length, facts.vocabulary, NEW_SHIFT)] * rows, STEPS)
    engine.step(generation)
    now, new = len(step), len(_profiled(engine, generation, twice=False))
    if now * REMEMBERED < new:
        reason = (
            f"{label}: a step of a request that was asked before runs {now} operators, and one of a new "
            f"request {new}: it remembers its answers, so its times are not those of computing them"
        )
        raise VariantFailed(Outcome.RUN_ERROR, reason)


def _profiled(engine: Engine, generation: Any, *, twice: bool) -> list[Any]:
    """Profile one more decode step and return its events. With ``twice`` another one follows without its
    graph, inside an event called ``EAGER``: a replayed CUDA graph shows no operators."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    if engine.facts().on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        engine.step(generation)
        engine.synchronise()
        if twice:
            with torch.profiler.record_function(EAGER), torch.compiler.set_stance("force_eager"):
                engine.step(generation)
                engine.synchronise()
    return list(profile.events())


def _parted(events: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the events of the step, and those of the step without its graph, which came after it."""
    begins = [one.time_range.start for one in events if one.name == EAGER and not _is_device(one)]
    ours = [one for one in events if one.name != EAGER]
    if not begins:
        return ours, []
    return (
        [one for one in ours if one.time_range.start < min(begins)],
        [one for one in ours if one.time_range.start >= min(begins)],
    )


def _is_device(event: Any) -> bool:
    return bool(event.device_type.name == "CUDA")


def _on_device(events: Iterable[Any]) -> list[Any]:
    """Return the GPU's kernels and copies without annotations; the list is empty if the profiler saw none."""
    return [one for one in events if _is_device(one) and not one.is_user_annotation]


def _added(events: Iterable[Any]) -> dict[str, Operator]:
    """Add up events by name. An annotation on the GPU would count its kernels' time again."""
    found: dict[str, Operator] = {}
    for event in events:
        on_device = _is_device(event)
        if on_device and event.is_user_annotation:
            found.setdefault(event.name, Operator())
            continue
        one = found.setdefault(event.name, Operator())
        one.calls += 1
        one.on_device |= on_device
        one.self_us += event.self_device_time_total if on_device else event.self_cpu_time_total
        one.device_us += event.device_time_total
    return found


def _at_work(events: Sequence[Any]) -> set[str]:
    """Return the names in which evidence is searched. On a GPU, an operator that ran nothing there is left
    out, because it had no effect. Example: torchao tries ``_int_mm`` with too few rows, and then multiplies
    in float32."""
    found = _added(events)
    everything = not any(one.on_device for one in found.values())
    return {name for name, one in found.items() if everything or "::" not in name or one.device_us > 0}


def _shares(events: Sequence[Any]) -> list[Kernel]:
    """Return the operators by self time, which the profiler gives in microseconds. On a GPU only kernels
    count: their operators would count the same time again."""
    added = _added(events)
    on_device = {name: one for name, one in added.items() if one.on_device}
    chosen = on_device or added
    total = sum(one.self_us for one in chosen.values()) or 1.0
    return [
        Kernel(name, one.calls, self_ms=round(one.self_us / 1e3, 3), share=round(one.self_us / total, 4))
        for name, one in sorted(chosen.items(), key=lambda pair: -pair[1].self_us)
        if one.calls
    ]


def _on_the_gpu(events: Sequence[Any]) -> tuple[int | None, float | None]:
    """Return (launches, milliseconds in which the GPU worked); kernels side by side count once."""
    spans = sorted((one.time_range.start, one.time_range.end) for one in _on_device(events))
    if not spans:
        return None, None
    busy_us, until = 0.0, spans[0][0]
    for start, end in spans:
        busy_us += max(end - max(start, until), 0.0)
        until = max(until, end)
    launches = sum(1 for one in events if not _is_device(one) and LAUNCHES.match(one.name))
    return launches, round(busy_us / 1e3, 4)
