"""Find the kernels of one decode step with torch's profiler, for the report and as evidence of a scheme."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bench.engine import Engine
from bench.errors import NonFiniteOutput, NotApplied
from bench.records import Json, Kernel


def of_a_step(engine: Engine, prompt: list[int], evidence: Sequence[Json]) -> list[Kernel]:
    """Profile one decode step and return its six largest operators (on CUDA, kernels) by self time. The list
    is empty for an engine that does not use torch.

    Raises NotApplied if the kernel that a scheme must use is missing, NonFiniteOutput if the model's logits
    on the first prompt are not finite.
    """
    if not engine.finite(prompt):
        raise NonFiniteOutput("the model's logits on the first prompt are not finite")
    if not engine.TORCH:
        return []
    import torch

    generation = engine.prefill([prompt], 4)
    engine.step(generation)
    events = _profiled(engine, generation)
    names = _at_work(events)
    if _on_device(events) and engine.compiled_graphs():
        with torch.compiler.set_stance("force_eager"):  # a replayed CUDA graph shows no operators
            names |= _at_work(_profiled(engine, generation))
    for step in evidence:
        pattern = step.get("kernel_pattern")
        if pattern and not any(re.search(pattern, name) for name in names):
            raise NotApplied(f"{step['step']}: no operator of a decode step matches {pattern!r}")
    return _shares(events)[:6]


def _profiled(engine: Engine, generation: Any) -> list[Any]:
    """Profile one more decode step and return its events, added up by name."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    if engine.facts().on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        engine.step(generation)
        engine.synchronise()
    return list(profile.key_averages())


def _on_device(events: Sequence[Any]) -> list[Any]:
    """Return the GPU's kernels and copies without annotations; the list is empty if the profiler saw none."""
    return [one for one in events if one.device_type.name == "CUDA" and not one.is_user_annotation]


def _at_work(events: Sequence[Any]) -> set[str]:
    """Return the names in which evidence is searched. On a GPU, an operator that ran nothing there is left
    out, because it had no effect. Example: torchao tries ``_int_mm`` with too few rows, and then multiplies
    in float32."""
    everything = not _on_device(events)
    return {one.key for one in events if everything or "::" not in one.key or one.device_time_total > 0}


def _shares(events: Sequence[Any]) -> list[Kernel]:
    """Return the events by self time, which the profiler gives in microseconds. On a GPU only kernels count:
    their operators and annotations would count the same time again."""
    on_device = _on_device(events)
    times = (
        [(one, one.self_device_time_total) for one in on_device]
        if on_device
        else [(one, one.self_cpu_time_total) for one in events]
    )
    total = sum(took for _one, took in times) or 1.0
    return [
        Kernel(one.key, one.count, self_ms=round(took / 1e3, 3), share=round(took / total, 4))
        for one, took in sorted(times, key=lambda pair: -pair[1])
    ]
