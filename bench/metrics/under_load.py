"""Compute the figures of a server under load from all blocks of its row; other rows have none of them.

Each percentile is a figure of its own, so that it has an interval and a gate can limit it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bench.metrics import cost, goodput, latency, requests, throughput
from bench.metrics.load_blocks import counting_variance, limits_of, processes_of, sums
from bench.metrics.requests import (
    CACHED,
    E2EL_SCHED,
    ERRORS,
    ICL,
    LATE,
    RUN_USD,
    TOKEN_GOODPUT,
    TTFO,
    TTFT_SCHED,
    Limits,
)
from bench.records import ArmRecord, LoadBlock, RunRecord
from bench.records.samples import Sample
from bench.stats.figure import Figure, Figures, Metric
from bench.stats.intervals import (
    ENOUGH_FOR,
    LEAST_SAMPLES,
    NORMAL_95,
    Interval,
    quantile_interval,
    share_interval,
    widened,
)
from bench.stats.pairs import FIRST_TOKEN, OTHER_KERNELS, Prior, pair_ratio

_OF: Mapping[Metric, Callable[[Sample], list[float]]] = {
    latency.TTFT: lambda sample: [sample.ttft_ms],
    latency.TPOT: lambda sample: [] if sample.tpot_ms is None else [sample.tpot_ms],
    latency.ITL: lambda sample: sample.itl_ms(),
    latency.E2EL: lambda sample: [sample.e2el_ms],
}
_AT = (50, 90, 95, 99)
_FIRST = ("ttft", "ttfo")  # metrics whose keys begin like this are times to a first token


def _percentile(metric: Metric, share: int) -> Metric:
    name = metric.key.removesuffix("_ms")
    return Metric(f"{name}_p{share}_ms", "ms", "lower", f"p{share} of {name}", "over requests")


PERCENTILES = {(metric, share): _percentile(metric, share) for metric in _OF for share in _AT}
CAPACITY = Metric(
    "capacity_req_per_s",
    "req/s",
    "higher",
    "highest rate at which enough requests are good",
    "highest rate that a search found",
)
PLACE = 6
OF_GOOD = (goodput.PER_GOOD.key, goodput.GOODPUT.key, TOKEN_GOODPUT.key)  # they count good requests
METRICS = (
    TTFT_SCHED, E2EL_SCHED, TTFO, ICL, LATE, ERRORS, TOKEN_GOODPUT, CACHED, RUN_USD, CAPACITY,
    *PERCENTILES.values(),
)  # fmt: skip


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return every figure of a server; None for a figure that its blocks do not have."""
    if not arm.server:
        return {}
    groups = processes_of(arm, run)
    blocks = [block for group in groups for block in group]
    result: Figures = {metric.key: None for metric in METRICS}
    limits = limits_of(run)
    pooled = [sample for block in blocks for sample in block.samples]
    if not any(sample.ok for sample in pooled):
        return result
    price = cost.price_of(arm, run)
    result |= requests.figures(pooled, limits, price, sums(blocks, limits).wall_s)
    each = [
        requests.figures(
            [sample for block in group for sample in block.samples], limits, price, sums(group, limits).wall_s
        )
        for group in groups
    ]
    between = _between(arm, run)
    counted = NORMAL_95 * math.sqrt(counting_variance(blocks, limits))
    for key, figure in result.items():
        if figure is not None and key not in (RUN_USD.key, LATE.key):
            prior = FIRST_TOKEN if key.startswith(_FIRST) else OTHER_KERNELS
            beside = math.hypot(between, counted) if key in OF_GOOD else between
            result[key] = _bounded(figure, [of_group.get(key) for of_group in each], beside, prior)
    result |= _shares(pooled, limits, result)
    result[CACHED.key] = CACHED.scalar(_cached(pooled))
    result[CAPACITY.key] = CAPACITY.scalar(_capacity(blocks))
    return result | _percentiles(pooled, result)


def _bounded(figure: Figure, each: Sequence[Figure | None], beside: float, prior: Prior) -> Figure:
    """Return the figure with bounds from the spread of the row's processes (or of its blocks), and from a
    half-width ``beside`` it (log scale)."""
    values = [of_group.value for of_group in each if of_group is not None]
    if len(values) < len(each) or min(values) <= 0:
        return replace(figure, ci_low=None, ci_high=None) if figure.sample is None else figure
    half = math.hypot(_half(values, prior), beside)
    low, high = figure.value * math.exp(-half), figure.value * math.exp(half)
    return replace(figure, ci_low=low, ci_high=high)


def _half(values: Sequence[float], prior: Prior) -> float:
    """Return the half-width (95 %, log scale) of the mean of these processes, computed as for a ratio."""
    mean = math.fsum(values) / len(values)
    ratio = pair_ratio(values, [mean] * len(values), prior)
    return math.log(ratio.high / ratio.value)


def _between(arm: ArmRecord, run: RunRecord) -> float:
    """Return how far (log scale) another process of a baseline may be from the one that was measured alone.

    This comes from the baseline's processes in pairs with variants. It is 0 for a variant, because the
    figures of a variant already include all its processes.
    """
    if not arm.is_baseline:
        return 0.0
    limits = limits_of(run)
    totals = [
        sums(unit.loads.baseline, limits)
        for unit in run.units
        if unit.group == arm.group and not unit.void and unit.loads
    ]
    times = [total.wall_s / total.ok for total in totals if total.ok and total.wall_s > 0]
    return _half(times, OTHER_KERNELS) * math.sqrt(len(times)) if len(times) > 1 else 0.0


def _shares(pooled: Sequence[Sample], limits: Limits, result: Figures) -> Figures:
    """Return the shares of failed and of good requests, with binomial intervals."""
    n, bad, good = len(pooled), sum(not sample.ok for sample in pooled), sum(map(limits.good, pooled))
    shares = {ERRORS.key: ERRORS.scalar(share_interval(bad, n))}
    if goodput.FRACTION.key in result:
        interval = share_interval(good, n)
        shares[goodput.FRACTION.key] = goodput.FRACTION.scalar(interval, good=good, requests=n)
    return shares


def _cached(pooled: Sequence[Sample]) -> Interval | None:
    """Return the share of input tokens that came from a prefix cache; None if no reply reports it."""
    cached, n_in = _told(pooled)
    return Interval(cached / n_in, None, None) if n_in else None


def _told(pooled: Sequence[Sample]) -> tuple[int, int]:
    """Return (cached input tokens, all input tokens) of the replies that report how many were cached."""
    reporting = [sample for sample in pooled if sample.ok and sample.n_cached is not None]
    return sum(sample.n_cached or 0 for sample in reporting), sum(sample.input_tokens for sample in reporting)


def _percentiles(samples: Sequence[Sample], means: Figures) -> Figures:
    ok = [sample for sample in samples if sample.ok]
    result: Figures = {}
    for metric, values_of in _OF.items():
        ordered = sorted(value for sample in ok for value in values_of(sample))
        mean = means.get(metric.key)
        spread = math.log(mean.ci_high / mean.value) if mean and mean.ci_high and mean.value > 0 else 0.0
        for share in _AT:
            enough = len(ok) >= ENOUGH_FOR.get(share, LEAST_SAMPLES) and ordered
            percentile = PERCENTILES[metric, share]
            interval = quantile_interval(ordered, share / 100, len(ok)) if enough else None
            result[percentile.key] = percentile.scalar(interval and widened(interval, spread))
    return result


def _capacity(blocks: Sequence[LoadBlock]) -> Interval | None:
    rates = [float(block.search["holds"]) for block in blocks if block.search and block.search.get("holds")]
    if not rates or len(rates) < len(blocks):
        return None
    mean, half = math.fsum(rates) / len(rates), _half(rates, OTHER_KERNELS)
    return Interval(mean, mean * math.exp(-half), mean * math.exp(half))


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of rates and dollars, each with C_run written out."""
    blocks = [block for group in processes_of(arm, run) for block in group]
    if not blocks:
        return {}
    total, price = sums(blocks, limits_of(run)), cost.price_of(arm, run)
    wall = f"{total.wall_s:.6g}"
    tokens = f"({total.input_tokens} + {total.output_tokens})"
    run_usd = f"{price.hourly_usd:.6g} * {price.devices:g} * {wall} / 3600 / {price.utilisation:g}"
    arithmetic = {
        throughput.REQUESTS.key: f"{total.ok} / {wall}",
        throughput.OUTPUT.key: f"{total.output_tokens} / {wall}",
        throughput.TOTAL.key: f"{tokens} / {wall}",
        ERRORS.key: f"{total.failed} / ({total.failed} + {total.ok})",
    }
    cached, n_in = _told([sample for block in blocks for sample in block.samples])
    if n_in:
        arithmetic[CACHED.key] = f"{cached} / {n_in}"
    if price.power_basis == "included" and total.ok:
        arithmetic |= {
            RUN_USD.key: run_usd,
            cost.PER_1K.key: f"1000 * {run_usd} / {tokens}",
            cost.PER_REQUEST.key: f"{run_usd} / {total.ok}",
        }
        if total.good and limits_of(run).most_ms:
            arithmetic[goodput.PER_GOOD.key] = f"{run_usd} / {total.good}"
            arithmetic[goodput.GOODPUT.key] = f"{total.good} / {wall}"
    return arithmetic
