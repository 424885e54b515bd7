"""Compute the ratios of a variant to its baseline, each from the best measurement that there is.

For most rows these are pairs of fresh processes in which both sides ran in turns; for servers they are blocks
under load. If there are no pairs (the workloads differ, or the engine has no steps), the solo passes are
compared, with an interval that allows for changes of the machine between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from bench.errors import Outcome
from bench.metrics import (
    answers,
    cascade_bills,
    cost,
    goodput,
    latency,
    load_blocks,
    memory,
    throughput,
    unit_ratios,
)
from bench.records import ArmRecord, RunRecord, TimedBatch, UnitRecord
from bench.stats.figure import Metric
from bench.stats.intervals import LEAST_SAMPLES, NORMAL_95, Interval, widened
from bench.stats.pairs import Kernels, pair_ratio, prior_of
from bench.stats.plain_sum import plain_sum
from bench.stats.ratio_verdict import RatioDesign

# Solo ratios: the spread (sd, log scale) of two processes that run at different times, from their memory
# layouts and from changes of the machine.
APART_IN_TIME_SD = 0.05
PEAKS_DIFFER_BY = 1.05  # the largest measured difference between peaks of identical processes was 3.4 %
TIMED = (cost.PER_1K, cost.PER_REQUEST, latency.E2EL, latency.TTFT, latency.TPOT, throughput.OUTPUT)
OF_CASCADES = (cost.PER_1K, cost.PER_REQUEST, latency.E2EL, throughput.OUTPUT)  # answers come all at once
OF_ENCODERS = (cost.PER_1K, cost.PER_REQUEST, latency.E2EL, throughput.TOTAL)  # no token is written
SERVED = (*TIMED, goodput.PER_GOOD, goodput.GOODPUT)
PAID = (cost.PER_1K, cost.PER_REQUEST, goodput.PER_GOOD)


@dataclass(frozen=True)
class Ratio:
    """Hold a ratio before its verdict.

    ``p`` is the probability of a ratio at least as far from 1 if nothing differs. It is None for a single
    reading, whose interval does not come from sampling. ``fails_more`` says that more requests of the variant
    failed than of the baseline; the variant is then never called better.
    """

    metric: Metric
    interval: Interval
    design: RatioDesign
    p: float | None = None
    pairs: int | None = None
    pair_sd: float | None = None
    fails_more: bool = False


def ratios_of(run: RunRecord, variant: ArmRecord) -> Iterator[Ratio]:
    """Yield the ratios of a row.

    A baseline has none. There is no ratio either if the row or its baseline did not end with ``ok``: an unfit
    row, for example, has only solo passes from a busy machine. The units of a gate are not used here.
    """
    base = run.baseline_of(variant)
    if base is None or variant.is_baseline:
        return
    if not base.status == variant.status == Outcome.OK:
        return
    if variant.server or base.server:
        yield from _from_blocks(run, base, variant)
        return
    if not variant.solo or not base.solo:
        return
    in_turns = run.valid_units_of(variant) and run.gate is None
    yield from _from_pairs(run, base, variant) if in_turns else _from_solo(run, base, variant)
    yield from _memory(base, variant)


def _from_pairs(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> Iterator[Ratio]:
    """Yield the ratios from pairs of processes.

    Cost is time × the price of the occupied hardware; cost per token divides by each side's own tokens. The
    cost of a cascade is the cost of its requests by the prices of its two models.
    """
    units = run.valid_units_of(variant)
    hourly = cost.hourly_usd(variant, run) / cost.hourly_usd(base, run)
    tokens = _tokens_per_request(base) / _tokens_per_request(variant)
    design = _design(units)
    prior = prior_of(_kernels(variant), _kernels(base), apart=design == RatioDesign.ABBA)
    factors = {cost.PER_1K.key: hourly * tokens, cost.PER_REQUEST.key: hourly}
    by = cascade_bills.rates_of(variant, cost.price_of(variant, run))
    timed = OF_ENCODERS if variant.runtime.get("task") else TIMED
    for metric in timed if by is None else OF_CASCADES:
        variant_ns: Sequence[float]
        variant_ns, baseline_ns = unit_ratios.sums(units, metric.key)
        if by is not None and metric.key in factors:
            variant_ns = cascade_bills.as_cloud_ns(units, by)
        if not any(variant_ns) or not any(baseline_ns):
            continue  # answers that come all at once have no times of further tokens
        estimate = pair_ratio(variant_ns, baseline_ns, prior, factors.get(metric.key, 1.0))
        ratio = Ratio(metric, estimate.interval, design, estimate.p, estimate.pairs, estimate.sd)
        yield ratio
        if metric is cost.PER_REQUEST and (share := answers.share_ratio(variant, run)):
            yield _of_answers(ratio, share)


def _design(units: Sequence[UnitRecord]) -> RatioDesign:
    if any(unit.apart for unit in units):
        return RatioDesign.ABBA
    return RatioDesign.SLICES if all(unit.shared for unit in units) else RatioDesign.DUET


def _of_answers(request: Ratio, share: Interval) -> Ratio:
    """Return the ratio of the cost of an answer, from that of a request and ``answers.share_ratio``.

    It is the product of both. Their errors are added in quadrature on the log scale. There is a p-value only
    if both have bounds.
    """
    ratio = request.interval.times(share.value)
    if ratio.low is None or ratio.high is None or not share.low or not share.high or ratio.value <= 0:
        return replace(request, metric=answers.PER_ANSWER, interval=Interval(ratio.value, None, None), p=None)
    ratio = widened(ratio, math.log(share.high / share.low) / 2)
    half = math.log((ratio.high or math.inf) / (ratio.low or math.inf)) / 2
    p = math.erfc(NORMAL_95 * abs(math.log(ratio.value)) / half / math.sqrt(2)) if half else None
    return replace(request, metric=answers.PER_ANSWER, interval=ratio, p=p)


def _from_blocks(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> Iterator[Ratio]:
    """Yield the ratios of two servers from the pairs in which they were under load in alternating blocks.
    Dollars are times multiplied by the price of what each server occupies.
    """
    units, limits = run.valid_units_of(variant), load_blocks.limits_of(run)
    if run.gate is not None or not units:
        return
    fails_more = load_blocks.more_errors(units, limits)
    hourly = cost.hourly_usd(variant, run) / cost.hourly_usd(base, run)
    for metric in SERVED:
        estimate = load_blocks.ratio(units, metric, limits, hourly if metric in PAID else 1.0)
        if estimate is not None:
            measured_by = (RatioDesign.BLOCKS, estimate.p, estimate.pairs, estimate.sd)
            yield Ratio(metric, estimate.interval, *measured_by, fails_more)


def _kernels(arm: ArmRecord) -> Kernels:
    packed_by = arm.loaded.facts.quantised_checkpoint if arm.loaded else None
    steps = arm.loaded.evidence if arm.loaded else ()
    between_runs = math.hypot(*(step.get("between_runs_sd") or 0.0 for step in steps))
    return Kernels(arm.runtime, packed_by, arm.optimise, between_runs)


def _from_solo(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> Iterator[Ratio]:
    """Yield the ratio of the cost per token from the two solo passes, which are independent samples."""
    hourly = cost.hourly_usd(variant, run) / cost.hourly_usd(base, run)
    yield _independent(
        [hourly * s / _batch_tokens(b) for b, s in zip(variant.solo, _paid_s(run, variant), strict=True)],
        [s / _batch_tokens(b) for b, s in zip(base.solo, _paid_s(run, base), strict=True)],
    )


def _paid_s(run: RunRecord, arm: ArmRecord) -> list[float]:
    """Return the seconds for which each batch of the solo pass is charged.

    For a cascade these are the seconds of the cloud that would cost as much as the batch.
    """
    by = cascade_bills.rates_of(arm, cost.price_of(arm, run))
    if by is None:
        return [batch.duration_s for batch in arm.solo]
    left = iter(cascade_bills.usd_of_requests(arm, by))
    return [math.fsum(islice(left, batch.requests)) / by.cloud_usd_per_s for batch in arm.solo]


def _independent(variant: Sequence[float], base: Sequence[float]) -> Ratio:
    """Return the ratio of two means by the delta method on the log scale.

    Its error includes how much the machine changes between the two passes.
    """
    means = [math.fsum(x) / len(x) for x in (variant, base)]
    ratio = means[0] / means[1]
    if min(len(variant), len(base)) < LEAST_SAMPLES:
        return Ratio(cost.PER_1K, Interval(ratio, None, None), RatioDesign.SOLO)
    error = plain_sum(
        math.fsum((x - mean) ** 2 for x in sample) / (len(sample) - 1) / len(sample) / mean**2
        for sample, mean in zip((variant, base), means, strict=True)
    )
    sd = math.sqrt(error + APART_IN_TIME_SD**2)
    half = NORMAL_95 * sd
    p = math.erfc(abs(math.log(ratio)) / sd / math.sqrt(2))
    return Ratio(
        cost.PER_1K, Interval(ratio, ratio * math.exp(-half), ratio * math.exp(half)), RatioDesign.SOLO, p
    )


def _plain(variant: float | None, base: float | None) -> Interval | None:
    """Return the ratio of two single readings, with bounds for how much identical processes differ."""
    if variant is None or not base:
        return None
    ratio = variant / base
    return Interval(ratio, ratio / PEAKS_DIFFER_BY, ratio * PEAKS_DIFFER_BY)


def _memory(base: ArmRecord, variant: ArmRecord) -> Iterator[Ratio]:
    """Yield the ratio of peak memory, of the CUDA allocator if both ran on a GPU, else resident memory."""
    for metric in (memory.ALLOCATED, memory.RSS):
        ratio = _plain(_peak(variant, metric), _peak(base, metric))
        if ratio is not None:
            yield Ratio(metric, ratio, RatioDesign.SOLO)
            return


def _peak(arm: ArmRecord, metric: Metric) -> float | None:
    return arm.memory.largest(metric.key) if arm.memory else None


def _batch_tokens(batch: TimedBatch) -> int:
    return sum(batch.input_tokens) + sum(len(tokens) for tokens in batch.tokens)


def _tokens_per_request(arm: ArmRecord) -> float:
    return sum(_batch_tokens(batch) for batch in arm.solo) / sum(batch.requests for batch in arm.solo)
