"""Compute for how much of a step the GPU works, and how many kernels a step launches.

Without compilation, a step of a language model is about a thousand launches of small kernels. If the CPU
cannot launch them as fast as the GPU runs them, the GPU waits, and a scheme that makes kernels shorter saves
nothing.
"""

from __future__ import annotations

from statistics import median

from bench.metrics import latency
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

BUSY = Metric(
    "gpu_busy_ms",
    "ms",
    "lower",
    "time in which a kernel ran, in one profiled step",
    "time of a step in which the GPU works",
)
SHARE = Metric(
    "gpu_busy_share",
    "1",
    None,
    "gpu_busy_ms ÷ median gap between tokens, measured without the profiler",
    "share of a step in which the GPU works",
)
LAUNCHES = Metric(
    "launches_per_step",
    "1",
    "lower",
    "kernels, graphs and copies that the processor launched in one step",
    "work that the CPU launches on the GPU per step",
)
STEP = Metric(
    "gpu_step_ms", "ms", "lower", "between the GPU's events around a step", "step by the GPU's clock"
)
PREFILL = Metric(
    "gpu_prefill_ms", "ms", "lower", "between the GPU's events around a prompt", "prompt by the GPU's clock"
)
PLACE = 13
METRICS = (BUSY, SHARE, LAUNCHES, STEP, PREFILL)


def figures(arm: ArmRecord, _run: RunRecord) -> Figures:
    """Return the figures of a row on a GPU; None for any other row.

    The profiler hardly changes how long a kernel runs, but it makes a step longer. So the share divides by
    the time of a step without the profiler.
    """
    profile, times = arm.profile, arm.device_times
    busy_ms = profile.gpu_busy_ms if profile else None
    gap_ms = _gap_ms(arm)
    return {
        BUSY.key: BUSY.scalar(busy_ms),
        SHARE.key: SHARE.scalar(None if busy_ms is None or not gap_ms else busy_ms / gap_ms),
        LAUNCHES.key: LAUNCHES.scalar(profile.launches if profile else None),
        STEP.key: STEP.distribution([ns / 1e6 for batch in times.steps_ns for ns in batch] if times else []),
        PREFILL.key: PREFILL.distribution([ns / 1e6 for ns in times.prefill_ns] if times else []),
    }


def worked(arm: ArmRecord, _run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of the share."""
    busy_ms, gap_ms = arm.profile.gpu_busy_ms if arm.profile else None, _gap_ms(arm)
    return {} if busy_ms is None or not gap_ms else {SHARE.key: f"{busy_ms:.6g} / {gap_ms:.6g}"}


def _gap_ms(arm: ArmRecord) -> float | None:
    """Return the median time between two tokens, without the first token.

    It is None for a row that speculates, because its tokens come several at a time.
    """
    gaps = () if arm.speculated else latency.samples(arm)[2]
    return median(gaps) if gaps else None
