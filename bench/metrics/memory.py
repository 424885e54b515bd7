"""Report memory: the bytes of the stored weights, and the peak of each phase."""

from __future__ import annotations

from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

WEIGHTS = Metric(
    "weights_bytes",
    "B",
    "lower",
    "Σ bytes of distinct tensor storages in the model",
    "bytes of the stored weights",
)
KV = Metric(
    "kv_bytes_per_token", "B", "lower", "2 · layers · kv_heads · head_dim · bytes", "KV cache per token"
)
RSS = Metric(
    "peak_rss_bytes",
    "B",
    "lower",
    "max of VmHWM over prefill and decode",
    "peak of resident memory while serving",
)
ALLOCATED = Metric(
    "peak_allocated_bytes",
    "B",
    "lower",
    "CUDA allocator's peak, serving",
    "peak of GPU memory while serving, by torch's allocator",
)
DEVICE = Metric(
    "peak_device_bytes",
    "B",
    "lower",
    "what the driver says this process holds after serving",
    "GPU memory after serving, by the driver",
)
LOAD_RSS = Metric(
    "load_peak_rss_bytes",
    "B",
    "lower",
    "VmHWM once loaded and optimised",
    "peak of resident memory while loading",
)
PLACE = 3
METRICS = (WEIGHTS, KV, RSS, ALLOCATED, DEVICE, LOAD_RSS)


def figures(arm: ArmRecord, _run: RunRecord) -> Figures:
    """Return the sizes. The peak of serving is the larger one of prefill and decode.

    The notes have the peak of every phase, including loading and the scoring of drift.
    """
    loaded, memory = arm.loaded, arm.memory
    result: Figures = {
        WEIGHTS.key: WEIGHTS.scalar((loaded.weights_bytes or None) if loaded else None),
        KV.key: KV.scalar(loaded.facts.kv_bytes_per_token if loaded else None),
        LOAD_RSS.key: LOAD_RSS.scalar(loaded.load_memory.get("peak_rss_bytes") if loaded else None),
    }
    for metric in (RSS, ALLOCATED, DEVICE):
        largest = memory.largest(metric.key) if memory else None
        result[metric.key] = None
        if memory and largest is not None:
            phases = {**memory.by_phase(metric.key), **_other_phases(arm, metric.key)}
            result[metric.key] = metric.scalar(largest, phases=phases)
    return result


def _other_phases(arm: ArmRecord, kind: str) -> dict[str, float]:
    """Return the peaks of GPU memory during loading and during the scoring of drift."""
    if kind == RSS.key:
        return {}
    peaks = {"load": arm.loaded.load_memory if arm.loaded else {}, "drift": arm.drift_memory or {}}
    return {phase: float(peak) for phase, by_kind in peaks.items() if (peak := by_kind.get(kind)) is not None}
