"""Variant against baseline: ratios with 95 % intervals and a verdict (variant ÷ baseline).

The duet, where both ran in turns, gives them. Where it could not run (another workload, an engine without
steps), the solo passes do, with an interval that knows they were apart in time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.metrics import cost, latency, memory
from bench.metrics.figure import Metric
from bench.records import ArmRecord, RunRecord, TimedBatch
from bench.stats.intervals import LEAST_SAMPLES, PROCESS_LUCK_SD, Interval, ratio_interval

# Between two passes apart in time the machine itself drifts: added (log scale) to solo ratios.
APART_IN_TIME_SD = 0.05
# Peak memory of identical processes was seen to differ by up to 3.4 %.
PEAKS_DIFFER_BY = 1.05


@dataclass(frozen=True)
class Comparison:
    """One ratio of ``run.json``'s ``comparisons``. All compared metrics are lower-is-better."""

    variant: str
    against: str
    group: str
    metric: str
    ratio: float
    ci_low: float | None
    ci_high: float | None
    confidence: float
    verdict: str
    design: str


def verdict(interval: Interval) -> str:
    """``better`` or ``worse`` when the whole interval is on one side of 1, else ``cannot tell``."""
    if interval.low is None or interval.high is None:
        return "cannot tell"
    if interval.high < 1:
        return "better"
    return "worse" if interval.low > 1 else "cannot tell"


def compare(run: RunRecord, variant: ArmRecord) -> list[Comparison]:
    """Every ratio of one variant against the baseline of its cell."""
    base = run.baseline_of(variant)
    if base is None or variant.is_baseline or not variant.solo or not base.solo:
        return []
    rows = _from_duet(run, base, variant) if variant.duet else _from_solo(run, base, variant)
    rows.append(_memory(base, variant))
    return [
        Comparison(
            variant.name, base.name, variant.group, metric.key, interval.value, interval.low, interval.high,
            0.95, verdict(interval), design,
        )
        for metric, interval, design in rows
        if interval is not None
    ]  # fmt: skip


Row = tuple[Metric, Interval | None, str]


def _from_duet(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> list[Row]:
    """Cost is time times the price of what is occupied; per token it also counts each side's own tokens."""
    hourly = cost.hourly_usd(variant, run) / cost.hourly_usd(base, run)
    tokens = _tokens_per_request(base) / _tokens_per_request(variant)
    whole = ratio_interval(
        [sum(pair.variant_ns) for pair in variant.duet], [sum(pair.baseline_ns) for pair in variant.duet]
    )
    first = ratio_interval(
        [pair.variant_ns[0] for pair in variant.duet], [pair.baseline_ns[0] for pair in variant.duet]
    )
    steps = ratio_interval(
        [sum(pair.variant_ns[1:]) for pair in variant.duet],
        [sum(pair.baseline_ns[1:]) for pair in variant.duet],
    )
    return [
        (cost.PER_1K, _scaled(whole, hourly * tokens), "duet"),
        (cost.PER_REQUEST, _scaled(whole, hourly), "duet"),
        (latency.E2EL, whole, "duet"),
        (latency.TTFT, first, "duet"),
        (latency.TPOT, steps, "duet"),
    ]


def _from_solo(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> list[Row]:
    """Ratio of mean batch times per token, the two samples independent."""
    hourly = cost.hourly_usd(variant, run) / cost.hourly_usd(base, run)
    times = _independent(
        [b.duration_s / _batch_tokens(b) for b in variant.solo],
        [b.duration_s / _batch_tokens(b) for b in base.solo],
    )
    return [(cost.PER_1K, _scaled(times, hourly), "solo")]


def _independent(variant: Sequence[float], base: Sequence[float]) -> Interval:
    """Ratio of two means, delta method on the log scale, with the drift between passes added."""
    means = [math.fsum(x) / len(x) for x in (variant, base)]
    ratio = means[0] / means[1]
    if min(len(variant), len(base)) < LEAST_SAMPLES:
        return Interval(ratio, None, None)
    error = sum(
        math.fsum((x - mean) ** 2 for x in sample) / (len(sample) - 1) / len(sample) / mean**2
        for sample, mean in zip((variant, base), means, strict=True)
    )
    half = 1.959964 * math.sqrt(error + PROCESS_LUCK_SD**2 + APART_IN_TIME_SD**2)
    return Interval(ratio, ratio * math.exp(-half), ratio * math.exp(half))


def _scaled(interval: Interval, factor: float) -> Interval:
    low, high = interval.low, interval.high
    return Interval(
        interval.value * factor,
        None if low is None else low * factor,
        None if high is None else high * factor,
    )


def _plain(variant: float | None, base: float | None) -> Interval | None:
    """A ratio of two single readings, known to within what two identical processes differ by."""
    if variant is None or not base:
        return None
    ratio = variant / base
    return Interval(ratio, ratio / PEAKS_DIFFER_BY, ratio * PEAKS_DIFFER_BY)


def _memory(base: ArmRecord, variant: ArmRecord) -> Row:
    """By the allocator where both ran on a GPU, else by the resident set."""
    on_gpu = _plain(_peak(variant, memory.ALLOCATED), _peak(base, memory.ALLOCATED))
    if on_gpu is not None:
        return memory.ALLOCATED, on_gpu, "solo"
    return memory.RSS, _plain(_peak(variant, memory.RSS), _peak(base, memory.RSS)), "solo"


def _peak(arm: ArmRecord, metric: Metric) -> float | None:
    phases = arm.memory or {}
    found = [phases.get(phase, {}).get(metric.key) for phase in ("prefill", "decode")]
    known = [float(value) for value in found if value is not None]
    return max(known, default=None)


def _batch_tokens(batch: TimedBatch) -> int:
    return sum(batch.input_tokens) + sum(len(tokens) for tokens in batch.tokens)


def _tokens_per_request(arm: ArmRecord) -> float:
    return sum(_batch_tokens(batch) for batch in arm.solo) / sum(batch.requests for batch in arm.solo)
