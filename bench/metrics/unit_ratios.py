"""Compute ln(variant ÷ baseline) of each unit, for each metric that a unit measures.

Cost is time × the hourly price of the occupied hardware; cost per token divides by each side's own tokens.
Sums over the unit's requests are compared, and not medians, because money adds up, and because a median does
not change if 5 % of the requests become 60 % slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.metrics import cascade_bills, cost, latency, load_blocks, memory, throughput
from bench.metrics.cascade_bills import Payer
from bench.metrics.requests import Limits
from bench.records import ArmRecord, ColdStart, RunRecord, Sides, UnitRecord

Batches = Sequence[Sequence[int]]  # for each batch, the nanoseconds of every turn


def _whole(batches: Batches) -> int:
    return sum(sum(turns) for turns in batches)


def _first(batches: Batches) -> int:
    return sum(turns[0] for turns in batches)


def _steps(batches: Batches) -> int:
    return sum(sum(turns[1:]) for turns in batches)


def _per_request(_batches: Batches, requests: int) -> float:
    return requests


def _per_batch(batches: Batches, _requests: int) -> float:
    return len(batches)


def _per_step(batches: Batches, _requests: int) -> float:
    return sum(len(turns) - 1 for turns in batches)


def _per_token(batches: Batches, requests: int) -> float:
    """Return the number of output tokens; every request of a batch gets one token per turn."""
    return sum(map(len, batches)) * requests / len(batches)


@dataclass(frozen=True)
class _Time:
    """Describe how a metric is computed from the times of a unit.

    ``sums`` adds up the times that count. ``per`` gives the divisor of the sum if the workloads of both sides
    differ; without ``per`` the metric is not compared between different workloads. ``sign`` is −1 for a rate,
    whose ratio is the inverse of the ratio of times.
    """

    sums: Callable[[Batches], int]
    per: Callable[[Batches, int], float] | None
    sign: int = 1


_TIMES = {
    cost.PER_1K.key: _Time(_whole, _per_request),  # ``price_shift`` adds the tokens
    cost.PER_REQUEST.key: _Time(_whole, _per_request),
    latency.E2EL.key: _Time(_whole, _per_batch),
    latency.TTFT.key: _Time(_first, _per_batch),
    latency.TPOT.key: _Time(_steps, _per_step),
    throughput.REQUESTS.key: _Time(_whole, _per_request, -1),
    throughput.OUTPUT.key: _Time(_whole, _per_token, -1),
    throughput.TOTAL.key: _Time(_whole, None, -1),
    throughput.PREFILL.key: _Time(_first, None, -1),
    throughput.DECODE.key: _Time(_steps, _per_step, -1),
}
COLD: dict[str, Callable[[ColdStart], float]] = {
    latency.LOAD.key: lambda start: start.load_s,
    latency.FIRST.key: lambda start: start.first_request_ms,
}
TIMED = frozenset((*_TIMES, *COLD))
COSTS = frozenset((cost.PER_1K.key, cost.PER_REQUEST.key))
NO_LIMITS = Limits({})
MEMORY = frozenset((memory.RSS.key, memory.ALLOCATED.key, memory.DEVICE.key))


def log_ratio(unit: UnitRecord, metric: str, limits: Limits = NO_LIMITS) -> float | None:
    """Return ``ln(variant/baseline)`` of a timed metric, a cold start or a memory peak.

    The result is None if the unit did not measure it. ``limits`` are those of a good request to a server.
    """
    if unit.loads is not None and metric in load_blocks.COMPARED:
        pair = load_blocks.sides(unit, metric, limits)
        return math.log(pair[0] / pair[1]) if pair else None
    if metric in _TIMES:
        of_times = _log_time_ratio(unit, _TIMES[metric])
        if of_times is not None and metric == cost.PER_1K.key and unit.tokens is not None:
            return of_times + _more_tokens(unit)
        return of_times
    variant, baseline = _sides(unit, metric)
    return math.log(variant / baseline) if variant and baseline else None


def _more_tokens(unit: UnitRecord) -> float:
    """Return the term of a unit's own tokens per request in the log ratio of a cost per token."""
    assert unit.tokens is not None, "asked only of a unit that counted its tokens"
    requests = unit.requests or Sides(1, 1)
    variant = unit.tokens.variant / requests.variant
    baseline = unit.tokens.baseline / requests.baseline
    return math.log(baseline / variant) if variant and baseline else 0.0


def _log_time_ratio(unit: UnitRecord, time: _Time) -> float | None:
    """Return the log ratio of a metric that is computed from times; None if the unit has no such times."""
    sums = time.sums(unit.variant_ns), time.sums(unit.baseline_ns)
    if 0 in sums:  # no such turn: a reply of one token has no steps
        return None
    if unit.requests is None:
        return time.sign * math.log(sums[0] / sums[1])
    if time.per is None:
        return None
    per = time.per(unit.variant_ns, unit.requests.variant), time.per(unit.baseline_ns, unit.requests.baseline)
    return time.sign * math.log(sums[0] / sums[1] * per[1] / per[0])


def _sides(unit: UnitRecord, metric: str) -> tuple[float | None, float | None]:
    """Return (variant's, baseline's) cold start or memory peak; None for what was not measured."""
    if metric in COLD:
        cold = unit.cold
        return (COLD[metric](cold.variant), COLD[metric](cold.baseline)) if cold else (None, None)
    peaks = unit.peaks
    return (peaks.variant.largest(metric), peaks.baseline.largest(metric)) if peaks else (None, None)


def sums(units: Sequence[UnitRecord], metric: str) -> tuple[list[int], list[int]]:
    """Return (variants' ns, baselines' ns) of all units, swapped if the metric is a rate.

    So the first list divided by the second is variant ÷ baseline, both for a time and for a rate.
    """
    time = _TIMES[metric]
    of_variant = [time.sums(unit.variant_ns) for unit in units]
    of_baseline = [time.sums(unit.baseline_ns) for unit in units]
    return (of_variant, of_baseline) if time.sign > 0 else (of_baseline, of_variant)


def log_ratios(
    run: RunRecord, base: ArmRecord, variant: ArmRecord, units: Sequence[UnitRecord], metric: str
) -> list[float | None]:
    """Return the log ratio of each unit, with hourly prices and tokens if the metric is a cost.

    An entry is None if the unit did not measure the metric. The cost of a cascade is computed from its own
    two prices, so it is not proportional to a unit's time.
    """
    if metric in COSTS and (base.cascade is not None or variant.cascade is not None):
        by = Sides(_payer(_at_base_price(run), base), _payer(run, variant))
        shift = _token_shift(run, base, variant) if metric == cost.PER_1K.key else 0.0
        ratios = [_log_dollars(unit, by, metric) for unit in units]
    else:
        shift = price_shift(run, base, variant, metric)
        ratios = [log_ratio(unit, metric) for unit in units]
    return [None if ratio is None else ratio + shift for ratio in ratios]


def _log_dollars(unit: UnitRecord, by: Sides[Payer], metric: str) -> float | None:
    """Return the log ratio of dollars per request, or per token if the metric and the unit count tokens."""
    usd = cascade_bills.paid(unit, by)
    if not usd.variant > 0 or not usd.baseline > 0:
        return None
    requests = unit.requests or Sides(1, 1)
    per_request = math.log(usd.variant / usd.baseline * requests.baseline / requests.variant)
    if metric == cost.PER_1K.key and unit.tokens is not None:
        return per_request + _more_tokens(unit)
    return per_request


def _payer(run: RunRecord, arm: ArmRecord) -> Payer:
    return Payer(cost.price_of(arm, run), arm.cascade)


def _at_base_price(run: RunRecord) -> RunRecord:
    """Return the run with the price of the gate's base commit, if it has its own."""
    return replace(run, price=(run.gate or {}).get("base_price") or run.price)


def price_shift(run: RunRecord, base: ArmRecord, variant: ArmRecord, metric: str) -> float:
    """Return the term of hourly prices, and of counted tokens, in the log ratio of a cost.

    It is exact and the same for every unit. It is 0 for a metric that is not a cost.
    """
    known = (base.loaded and variant.loaded) or (base.server and variant.server)
    if metric not in COSTS or not known:
        return 0.0
    shift = math.log(cost.hourly_usd(variant, run) / cost.hourly_usd(base, _at_base_price(run)))
    return shift + _token_shift(run, base, variant) if metric == cost.PER_1K.key else shift


def _token_shift(run: RunRecord, base: ArmRecord, variant: ArmRecord) -> float:
    """Return the term of tokens that were counted once per row in the log ratio of a cost per token.

    It is 0 if the units count their own tokens.
    """
    if not base.counters or not variant.counters or variant.group in run.groups_that_count_tokens:
        return 0.0
    sides = (base.counters, variant.counters)
    tokens = [(side.input_tokens + side.output_tokens) / side.requests for side in sides]
    return math.log(tokens[0] / tokens[1])
