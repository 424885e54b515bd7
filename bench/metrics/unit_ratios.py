"""One number for each unit: the log of variant ÷ baseline, for each metric that a unit measures.

Cost is time times the hourly price of what is occupied; per token it also counts each side's own tokens. Sums
over the unit's requests are compared, never medians: money adds up, and a median does not see that 5 % of the
requests are 60 % slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bench.metrics import cost, latency, memory, throughput
from bench.records import ArmRecord, ColdStart, RunRecord, UnitRecord

Sums = Callable[[Sequence[Sequence[int]]], int]


def _whole(batches: Sequence[Sequence[int]]) -> int:
    return sum(sum(turns) for turns in batches)


def _first(batches: Sequence[Sequence[int]]) -> int:
    return sum(turns[0] for turns in batches)


def _steps(batches: Sequence[Sequence[int]]) -> int:
    return sum(sum(turns[1:]) for turns in batches)


# For each metric: what is summed, and −1 if the ratio is turned over because higher is better.
_TIMES: dict[str, tuple[Sums, int]] = {
    cost.PER_1K.key: (_whole, 1),
    cost.PER_REQUEST.key: (_whole, 1),
    latency.E2EL.key: (_whole, 1),
    latency.TTFT.key: (_first, 1),
    latency.TPOT.key: (_steps, 1),
    throughput.REQUESTS.key: (_whole, -1),
    throughput.OUTPUT.key: (_whole, -1),
    throughput.TOTAL.key: (_whole, -1),
    throughput.PREFILL.key: (_first, -1),
    throughput.DECODE.key: (_steps, -1),
}
_COLD: dict[str, Callable[[ColdStart], float]] = {
    latency.LOAD.key: lambda start: start.load_s,
    latency.FIRST.key: lambda start: start.first_request_ms,
}
TIMED = frozenset((*_TIMES, *_COLD))
MEMORY = frozenset((memory.RSS.key, memory.ALLOCATED.key, memory.DEVICE.key))


def log_ratio(unit: UnitRecord, metric: str) -> float | None:
    """Return ``ln(variant/baseline)`` of a timed metric, a cold start or a memory peak.

    The result is None if the unit did not measure it.
    """
    if metric in _TIMES:
        sums, sign = _TIMES[metric]
        return sign * math.log(sums(unit.variant_ns) / sums(unit.baseline_ns))
    ours, theirs = _sides(unit, metric)
    return math.log(ours / theirs) if ours and theirs else None


def _sides(unit: UnitRecord, metric: str) -> tuple[float | None, float | None]:
    """Return the variant's and the baseline's cold start or memory peak; None where it was not measured."""
    if metric in _COLD:
        cold = unit.cold
        return (_COLD[metric](cold.variant), _COLD[metric](cold.baseline)) if cold else (None, None)
    peaks = unit.peaks
    return (peaks.variant.largest(metric), peaks.baseline.largest(metric)) if peaks else (None, None)


def sums(units: Sequence[UnitRecord], metric: str) -> tuple[list[int], list[int]]:
    """Return the nanoseconds that each unit's variant and baseline took, swapped if the metric is a rate.

    The first list over the second is therefore variant ÷ baseline for a time and for a rate.
    """
    of, sign = _TIMES[metric]
    found = [of(unit.variant_ns) for unit in units], [of(unit.baseline_ns) for unit in units]
    return found if sign > 0 else found[::-1]


def price_shift(run: RunRecord, base: ArmRecord, variant: ArmRecord, metric: str) -> float:
    """Return what the price of the hour, and the tokens counted, add to a cost's log ratio.

    It is exact and the same for every unit; it is 0 for what is not a cost.
    """
    if metric not in (cost.PER_1K.key, cost.PER_REQUEST.key) or base.loaded is None or variant.loaded is None:
        return 0.0
    shift = math.log(cost.hourly_usd(variant, run) / cost.hourly_usd(base, run))
    if metric == cost.PER_1K.key and base.counters and variant.counters:
        tokens = [side.input_tokens + side.output_tokens for side in (base.counters, variant.counters)]
        shift += math.log(tokens[0] / tokens[1])
    return shift
