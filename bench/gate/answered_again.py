"""Notice that a gate timed answers which a cache may have given, because the same request was asked again.

The units of own code ask a process nothing twice if the workload has different requests. If it has not, the
first answer of each process, which warms it up, tells a cache: it takes many times as long as the timed ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, median

from bench.gate.findings import Finding, GateVerdict
from bench.metrics.unit_ratios import COLD, MEMORY
from bench.records import UnitRecord

MOST_FASTER = 5.0


def doubted(found: Finding, units: Sequence[UnitRecord]) -> Finding:
    """Return the finding of a timed rule. A PASS by answers that came much faster when they were asked again
    is SUSPECT, and where nothing was decided the reason says the same."""
    undecided, faster = found.verdict == GateVerdict.INCONCLUSIVE, times_faster(units)
    if found.metric in MEMORY | COLD.keys() or faster <= MOST_FASTER:
        return found
    if not undecided and found.verdict != GateVerdict.PASS:
        return found
    reason = (
        f"the same request was asked again and again, and answered {faster:,.0f} times faster than at first: "
        "a cache may have answered, or the first answer paid for a start. Give two or more different "
        "requests (workload.requests), so that each is timed when it is new"
    )
    if undecided:
        return replace(found, reason=f"{found.reason}; {reason}")
    return replace(found, verdict=GateVerdict.SUSPECT, reason=reason)


def times_faster(units: Sequence[UnitRecord]) -> float:
    """Return how many times less the timed requests took than the first one, on the side where that is more
    and as the median of the units; 1 if the requests that were timed had not been asked before."""
    again = [unit for unit in units if unit.asked_again and unit.cold is not None]
    return max(
        (
            median(_first_ms(unit, side) / fmean(map(sum, _timed_ns(unit, side))) * 1e6 for unit in again)
            for side in ("baseline", "variant")
            if again
        ),
        default=1.0,
    )


def _first_ms(unit: UnitRecord, side: str) -> float:
    assert unit.cold is not None, "units without a first answer are left out"
    return (unit.cold.variant if side == "variant" else unit.cold.baseline).first_request_ms


def _timed_ns(unit: UnitRecord, side: str) -> Sequence[Sequence[int]]:
    return unit.variant_ns if side == "variant" else unit.baseline_ns
