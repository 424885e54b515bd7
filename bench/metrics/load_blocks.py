"""Add up the blocks in which a server was under load, and compare the sums of two servers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.metrics import cost, goodput, latency, throughput
from bench.metrics.requests import Limits, counts
from bench.records import ArmRecord, LoadBlock, RunRecord, Sides, UnitRecord
from bench.records.samples import Sample
from bench.stats.figure import Metric
from bench.stats.pairs import FIRST_TOKEN, OTHER_KERNELS, PairRatio, Prior, Quotient, pooled_ratio
from bench.stats.plain_sum import plain_sum


def limits_of(run: RunRecord) -> Limits:
    """Return the limits of a good request in this run."""
    return Limits({key.removesuffix("_ms"): most for key, most in goodput.limits_of(run).items()})


def processes_of(arm: ArmRecord, run: RunRecord) -> list[tuple[LoadBlock, ...]]:
    """Return the valid blocks of a row, grouped by process.

    The blocks of each pair with the baseline come from one process. The blocks of a row that was measured
    alone are returned one by one. Void blocks are left out, because the client was the bottleneck in them.
    """
    in_pairs = [unit.loads.variant for unit in run.valid_units_of(arm) if unit.loads and not arm.is_baseline]
    alone = [(block,) for block in arm.loads if not block.void]
    return [*alone, *in_pairs]


@dataclass(frozen=True)
class Sums:
    """Hold sums over some blocks of one server.

    ``wall_s`` is the time under load, and ``ok``, ``good`` and ``failed`` count requests. The milliseconds
    are sums over the requests that are ok; ``decode_ms`` is the time of ``decoded`` tokens, which are all
    tokens after the first event of a reply.
    """

    wall_s: float
    ok: int
    good: int
    failed: int
    input_tokens: int
    output_tokens: int
    ttft_ms: float
    e2el_ms: float
    decode_ms: float
    decoded: int


def sums(blocks: Sequence[LoadBlock], limits: Limits) -> Sums:
    """Add up some blocks. A block lasts from the sending of its first request to the end of its last one."""
    each = [counts(block.samples, limits) for block in blocks]
    ok = [sample for block in blocks for sample in block.samples if sample.ok]
    later = [(_decode_ms(sample), sample.n_out - sample.tokens[0]) for sample in ok if sample.tokens]
    return Sums(
        wall_s=plain_sum(of_block.wall_s for of_block in each),
        ok=len(ok),
        good=sum(of_block.good for of_block in each),
        failed=sum(of_block.all - of_block.ok for of_block in each),
        input_tokens=sum(of_block.input_tokens for of_block in each),
        output_tokens=sum(of_block.output_tokens for of_block in each),
        ttft_ms=plain_sum(sample.ttft_ms for sample in ok),
        e2el_ms=plain_sum(sample.e2el_ms for sample in ok),
        decode_ms=plain_sum(ms for ms, _ in later),
        decoded=sum(tokens for _, tokens in later),
    )


def _decode_ms(sample: Sample) -> float:
    return (sample.events_ns[-1] - sample.events_ns[0]) / 1e6


def block_seconds(blocks: Sequence[LoadBlock]) -> list[float]:
    """Return the seconds per successful request of each block."""
    each = [sums([block], Limits({})) for block in blocks]
    return [of_block.wall_s / of_block.ok for of_block in each]


# How a metric is computed from the sums of a side, as (numerator, denominator).
_PER: Mapping[str, Callable[[Sums], tuple[float, float]]] = {
    cost.PER_1K.key: lambda side: (side.wall_s, side.input_tokens + side.output_tokens),
    cost.PER_REQUEST.key: lambda side: (side.wall_s, side.ok),
    goodput.PER_GOOD.key: lambda side: (side.wall_s, side.good),
    latency.E2EL.key: lambda side: (side.e2el_ms, side.ok),
    latency.TTFT.key: lambda side: (side.ttft_ms, side.ok),
    latency.TPOT.key: lambda side: (side.decode_ms, side.decoded),
    throughput.REQUESTS.key: lambda side: (side.ok, side.wall_s),
    throughput.OUTPUT.key: lambda side: (side.output_tokens, side.wall_s),
    throughput.TOTAL.key: lambda side: (side.input_tokens + side.output_tokens, side.wall_s),
    goodput.GOODPUT.key: lambda side: (side.good, side.wall_s),
}
COMPARED = frozenset(_PER)
# A server is faster or slower by luck, and near a time limit this moves many requests at once: by so much the
# logit of the share of good requests differs between the servers of a pair (standard deviation). It was
# guessed, not measured (docs/decisions/0030).
GOOD_BY_LUCK = 0.5


def sides(unit: UnitRecord, metric: str, limits: Limits) -> tuple[float, float] | None:
    """Return (variant's value, baseline's value) of a metric in a pair, for example seconds per good request.

    The result is None if a side has no such value, for example because no request was good.
    """
    if unit.loads is None or metric not in _PER:
        return None
    values = []
    for above, below in _quotients(unit.loads, metric, limits):
        if not above > 0 or not below > 0:
            return None
        values.append(above / below)
    return values[0], values[1]


def _quotients(loads: Sides[tuple[LoadBlock, ...]], metric: str, limits: Limits) -> list[Quotient]:
    """Return what a metric divides, of the variant and of the baseline."""
    return [_PER[metric](sums(blocks, limits)) for blocks in (loads.variant, loads.baseline)]


def ratio(
    units: Sequence[UnitRecord], metric: Metric, limits: Limits, factor: float = 1.0
) -> PairRatio | None:
    """Return the variant's value of a metric over all blocks of all pairs, divided by the baseline's.

    The result is multiplied by ``factor``, a known ratio of prices. It is None if a side has no such value,
    for example because none of its requests was good, or without pairs.
    """
    loads = [unit.loads for unit in units if unit.loads is not None]
    if len(loads) < len(units):
        return None
    each = [_quotients(one, metric.key, limits) for one in loads]
    of_variant, of_baseline = [one[0] for one in each], [one[1] for one in each]
    if not all(
        math.fsum(entry[at] for entry in side) > 0 for side in (of_variant, of_baseline) for at in (0, 1)
    ):
        return None
    return pooled_ratio(of_variant, of_baseline, _prior(units, metric, limits), factor)


def _prior(units: Sequence[UnitRecord], metric: Metric, limits: Limits) -> Prior:
    """Return how far pairs of servers lie apart in a metric.

    Blocks are long, so the machine may change between the two sides. This spreads the ratios about as much
    as different kernels do. So all pairs of servers use the prior of other kernels, and a wider one for the
    time to the first token. What counts good requests has the error of counting, and the luck of servers
    near a time limit; neither is there where every request is good.
    """
    if metric is latency.TTFT:
        return FIRST_TOKEN
    if metric not in (goodput.PER_GOOD, goodput.GOODPUT):
        return OTHER_KERNELS
    both = [_of_side(units, side, limits) for side in ("variant", "baseline")]
    by_luck = GOOD_BY_LUCK * math.hypot(*(1 - side.good / (side.ok + side.failed) for side in both))
    median = math.hypot(OTHER_KERNELS.median, by_luck)
    return replace(OTHER_KERNELS, median=median, counted=share_good_sd(units, limits) * math.sqrt(len(units)))


def _of_side(units: Sequence[UnitRecord], side: str, limits: Limits) -> Sums:
    """Add up all blocks of one side (``variant`` or ``baseline``)."""
    return sums([block for unit in units if unit.loads for block in getattr(unit.loads, side)], limits)


def counting_variance(blocks: Sequence[LoadBlock], limits: Limits) -> float:
    """Return the variance of ln(share of good requests): k good ones of n leave (1 − k/n) ÷ k to chance
    (delta method). The result is 0 without a good request, because then there is nothing to divide by."""
    return _counting_variance(sums(blocks, limits))


def _counting_variance(of_side: Sums) -> float:
    return (1 - of_side.good / (of_side.ok + of_side.failed)) / of_side.good if of_side.good else 0.0


def share_good_sd(units: Sequence[UnitRecord], limits: Limits) -> float:
    """Return the standard deviation of ln(variant's share of good requests ÷ the baseline's), over all pairs.

    Both sides get the same prompts, so they do not vary independently; adding their variances is on the safe
    side.
    """
    return math.sqrt(
        plain_sum(_counting_variance(_of_side(units, side, limits)) for side in ("variant", "baseline"))
    )


def more_errors(units: Sequence[UnitRecord], limits: Limits) -> bool:
    """Return whether a larger share of requests failed on the variant than on the baseline.

    Failed requests take little time and are not in the latencies, so such a variant must not be called
    better.
    """
    both = [_of_side(units, side, limits) for side in ("variant", "baseline")]
    of_variant, of_baseline = (side.failed / max(side.failed + side.ok, 1) for side in both)
    return of_variant > of_baseline
