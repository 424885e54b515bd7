"""The blocks in which a server was under load: of a row, of a pair, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.metrics import cost, goodput, latency, throughput
from bench.metrics.requests import Limits, counts
from bench.records import ArmRecord, LoadBlock, RunRecord, UnitRecord
from bench.records.samples import Sample


def limits_of(run: RunRecord) -> Limits:
    """Return what a good request of this run is."""
    return Limits({key.removesuffix("_ms"): most for key, most in goodput.limits_of(run).items()})


def processes_of(arm: ArmRecord, run: RunRecord) -> list[tuple[LoadBlock, ...]]:
    """Return the valid blocks of a row, those of one process together.

    They are those of its pairs with the baseline, or, of a row that was alone, its blocks one by one. A block
    in which the client was the bottleneck says nothing of a server.
    """
    beside = [unit.loads.variant for unit in run.valid_units_of(arm) if unit.loads and not arm.is_baseline]
    alone = [(block,) for block in arm.loads if not block.void]
    return [*alone, *beside]


@dataclass(frozen=True)
class Sums:
    """What some blocks of one server add up to: seconds under load, requests that were whole, good ones,
    tokens, and milliseconds summed over whole requests."""

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
    """Add up. W is the sum over blocks of the time from the first request sent to the last end."""
    each = [counts(block.samples, limits) for block in blocks]
    ok = [one for block in blocks for one in block.samples if one.ok]
    later = [(_decode_ms(one), one.n_out - one.tokens[0]) for one in ok if one.tokens]
    return Sums(
        wall_s=sum(one.wall_s for one in each),
        ok=len(ok),
        good=sum(one.good for one in each),
        failed=sum(one.all - one.ok for one in each),
        input_tokens=sum(one.input_tokens for one in each),
        output_tokens=sum(one.output_tokens for one in each),
        ttft_ms=sum(one.ttft_ms for one in ok),
        e2el_ms=sum(one.e2el_ms for one in ok),
        decode_ms=sum(ms for ms, _ in later),
        decoded=sum(tokens for _, tokens in later),
    )


def _decode_ms(one: Sample) -> float:
    return (one.events_ns[-1] - one.events_ns[0]) / 1e6


def block_seconds(blocks: Sequence[LoadBlock]) -> list[float]:
    """Return the seconds of each block for each of its whole requests."""
    each = [sums([block], Limits({})) for block in blocks]
    return [one.wall_s / one.ok for one in each]


# What is compared of two sides: (numerator, denominator), the ratio of which has the direction of its metric.
_PER: Mapping[str, Callable[[Sums], tuple[float, float]]] = {
    cost.PER_1K.key: lambda one: (one.wall_s, one.input_tokens + one.output_tokens),
    cost.PER_REQUEST.key: lambda one: (one.wall_s, one.ok),
    goodput.PER_GOOD.key: lambda one: (one.wall_s, one.good),
    latency.E2EL.key: lambda one: (one.e2el_ms, one.ok),
    latency.TTFT.key: lambda one: (one.ttft_ms, one.ok),
    latency.TPOT.key: lambda one: (one.decode_ms, one.decoded),
    throughput.REQUESTS.key: lambda one: (one.ok, one.wall_s),
    throughput.OUTPUT.key: lambda one: (one.output_tokens, one.wall_s),
    throughput.TOTAL.key: lambda one: (one.input_tokens + one.output_tokens, one.wall_s),
    goodput.GOODPUT.key: lambda one: (one.good, one.wall_s),
}
COMPARED = frozenset(_PER)


def sides(unit: UnitRecord, metric: str, limits: Limits) -> tuple[float, float] | None:
    """Return what a pair measured of a metric: (variant, baseline), such as seconds for each good request.

    The result is None where one of them has no such value: no request was good, no reply had two tokens.
    """
    if unit.loads is None or metric not in _PER:
        return None
    found = []
    for blocks in (unit.loads.variant, unit.loads.baseline):
        above, below = _PER[metric](sums(blocks, limits))
        if not above > 0 or not below > 0:
            return None
        found.append(above / below)
    return found[0], found[1]


def more_errors(units: Sequence[UnitRecord], limits: Limits) -> bool:
    """Return whether more of the variant's requests failed than of the baseline's.

    What fails is in no latency and takes no time, so such a variant is never called better.
    """
    shares = []
    for side in ("variant", "baseline"):
        blocks = [block for unit in units if unit.loads for block in getattr(unit.loads, side)]
        found = sums(blocks, limits)
        shares.append(found.failed / max(found.failed + found.ok, 1))
    return shares[0] > shares[1]
