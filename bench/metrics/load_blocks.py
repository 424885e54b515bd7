"""Add up the blocks in which a server was under load, and compare the sums of two servers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.metrics import cost, goodput, latency, throughput
from bench.metrics.requests import Limits, counts
from bench.records import ArmRecord, LoadBlock, RunRecord, UnitRecord
from bench.records.samples import Sample


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
        wall_s=sum(of_block.wall_s for of_block in each),
        ok=len(ok),
        good=sum(of_block.good for of_block in each),
        failed=sum(of_block.all - of_block.ok for of_block in each),
        input_tokens=sum(of_block.input_tokens for of_block in each),
        output_tokens=sum(of_block.output_tokens for of_block in each),
        ttft_ms=sum(sample.ttft_ms for sample in ok),
        e2el_ms=sum(sample.e2el_ms for sample in ok),
        decode_ms=sum(ms for ms, _ in later),
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
RATES = (throughput.REQUESTS, throughput.OUTPUT, throughput.TOTAL, goodput.GOODPUT)  # something in a second


def sides(unit: UnitRecord, metric: str, limits: Limits) -> tuple[float, float] | None:
    """Return (variant's value, baseline's value) of a metric in a pair, for example seconds per good request.

    The result is None if a side has no such value, for example because no request was good.
    """
    if unit.loads is None or metric not in _PER:
        return None
    values = []
    for blocks in (unit.loads.variant, unit.loads.baseline):
        above, below = _PER[metric](sums(blocks, limits))
        if not above > 0 or not below > 0:
            return None
        values.append(above / below)
    return values[0], values[1]


def counting_variance(blocks: Sequence[LoadBlock], limits: Limits) -> float:
    """Return the variance of ln(share of good requests): k good ones of n leave (1 − k/n) ÷ k to chance
    (delta method). The result is 0 without a good request, because then there is nothing to divide by."""
    of_side = sums(blocks, limits)
    return (1 - of_side.good / (of_side.ok + of_side.failed)) / of_side.good if of_side.good else 0.0


def share_good_sd(units: Sequence[UnitRecord], limits: Limits) -> float:
    """Return the standard deviation of ln(variant's share of good requests ÷ the baseline's), over all pairs.

    Both sides get the same prompts, so they do not vary independently; adding their variances is on the safe
    side.
    """
    loads = [unit.loads for unit in units if unit.loads is not None]
    of_variant = [block for one in loads for block in one.variant]
    of_baseline = [block for one in loads for block in one.baseline]
    return math.sqrt(counting_variance(of_variant, limits) + counting_variance(of_baseline, limits))


def more_errors(units: Sequence[UnitRecord], limits: Limits) -> bool:
    """Return whether a larger share of requests failed on the variant than on the baseline.

    Failed requests take little time and are not in the latencies, so such a variant must not be called
    better.
    """
    shares = []
    for side in ("variant", "baseline"):
        blocks = [block for unit in units if unit.loads for block in getattr(unit.loads, side)]
        side_sums = sums(blocks, limits)
        shares.append(side_sums.failed / max(side_sums.failed + side_sums.ok, 1))
    return shares[0] > shares[1]
