"""Estimate the noise of this machine from a calibration, which is a set of units with two equal sides.

The log ratio of a unit of ``m`` batches has the variance ``σ² = σ²_process + σ²_batch/m``: the effect that a
process keeps for its whole life does not average out, but the effects that change from batch to batch do
(Kalibera & Jones 2013).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from bench.errors import BenchError
from bench.gate.power import smallest_detectable
from bench.gate.sequential import SCALE_FLOOR, WHOLE_STAKE, Test
from bench.metrics.cost import PER_REQUEST
from bench.metrics.load_blocks import block_seconds, sums
from bench.metrics.unit_ratios import NO_LIMITS, log_ratio
from bench.records import RunRecord, UnitRecord
from bench.stats.plain_sum import plain_sum
from bench.store.replay import Head, judging, load_record

VALID = timedelta(days=7)  # an older calibration may describe another state of the machine
ENOUGH_UNITS = 6
USUAL_MARGIN = 0.03  # the smallest detectable increase is computed for a limit of this share
MOST_BATCHES = 16  # per unit


@dataclass(frozen=True)
class Calibration:
    """Hold the components of the noise (standard deviations of log ratios) and what follows from them.

    ``batches`` is the recommended number per unit, ``√(s_fixed/s_batch · σ²_batch/σ²_process)``, which is the
    cheapest for a given precision. ``detectable`` is the smallest increase, as a share, that at least 95 % of
    gates of at most ``cap`` units detect.
    """

    run_id: str
    at_utc: str
    units: int
    void_units: int
    unit_sd: float
    process_sd: float
    batch_sd: float
    intraclass_correlation: float
    lag1_autocorrelation: float
    seconds_per_unit: float
    batches_measured: int
    batches: int
    detectable: float | None
    counters_constant: bool
    cap: int


def calibration_of(run: RunRecord) -> Calibration | None:
    """Return the ``calibration`` block of ``run.json``; None for any other run, or with too few units."""
    if run.gate is None or run.gate.get("mode") != "calibration":
        return None
    return estimate(run)


def estimate(run: RunRecord) -> Calibration | None:
    """Estimate the components from the valid units by the one-way random-effects model; None if too few."""
    units = [unit for unit in run.units if not unit.void]
    if len(units) < ENOUGH_UNITS:
        return None
    changes = [change for unit in units if (change := log_ratio(unit, PER_REQUEST.key)) is not None]
    inner = [_batch_ratios(unit) for unit in units]
    m = len(inner[0])
    batch_variance = statistics.fmean(statistics.variance(ratios) for ratios in inner) if m > 1 else 0.0
    # Both sides are the same, so the true mean is 0. It need not be estimated, so divide by n, not n − 1.
    unit_variance = math.fsum(change**2 for change in changes) / len(changes)
    process_variance = max(unit_variance - batch_variance / m, 0.0)
    timed_s = statistics.fmean(_timed_s(unit) for unit in units)
    unit_s = statistics.fmean(unit.took_s for unit in units)
    start_s = max(unit_s - timed_s, 0.0)
    batches = _batches(process_variance, batch_variance, max(start_s, 0.1), timed_s / m)
    if units[0].loads:
        batches = m  # a pair of servers always has the same number of blocks
    unit_sd = math.sqrt(process_variance + batch_variance / batches)
    stake = ((run.gate or {}).get("test") or {}).get("stake", WHOLE_STAKE)
    test = Test(margin=math.log1p(USUAL_MARGIN), prior_sd=max(unit_sd, SCALE_FLOOR), stake=stake)
    return Calibration(
        run_id=run.run_id,
        at_utc=run.started_utc,
        units=len(units),
        void_units=len(run.units) - len(units),
        unit_sd=unit_sd,
        process_sd=math.sqrt(process_variance),
        batch_sd=math.sqrt(batch_variance),
        intraclass_correlation=process_variance / ((process_variance + batch_variance) or 1.0),
        lag1_autocorrelation=_lag1([ratio for ratios in inner for ratio in ratios]),
        seconds_per_unit=start_s + timed_s / m * batches,
        batches_measured=m,
        batches=batches,
        detectable=smallest_detectable(unit_sd, test),
        counters_constant=len({repr(unit.counters) for unit in units}) <= 1,
        cap=test.cap,
    )


def _batch_ratios(unit: UnitRecord) -> list[float]:
    """Return the log ratio of each batch, or of each block of servers."""
    if unit.loads:
        seconds = [block_seconds(side) for side in (unit.loads.variant, unit.loads.baseline)]
        return [math.log(variant / base) for variant, base in zip(*seconds, strict=True)]
    pairs = zip(unit.variant_ns, unit.baseline_ns, strict=True)
    return [math.log(sum(variant) / sum(base)) for variant, base in pairs]


def _timed_s(unit: UnitRecord) -> float:
    """Return the timed seconds of a unit, of both sides together."""
    if unit.loads:
        return plain_sum(sums(side, NO_LIMITS).wall_s for side in (unit.loads.baseline, unit.loads.variant))
    return sum(sum(turns) for side in (unit.baseline_ns, unit.variant_ns) for turns in side) / 1e9


def _batches(process_variance: float, batch_variance: float, fixed_s: float, batch_s: float) -> int:
    """Return the best number of batches per unit (Kalibera & Jones 2013, eq. 3), from 1 to MOST_BATCHES."""
    if process_variance == 0:
        return MOST_BATCHES if batch_variance else 1
    best = math.sqrt(fixed_s / batch_s * batch_variance / process_variance)
    return min(max(math.ceil(best), 1), MOST_BATCHES)


def _lag1(values: Sequence[float]) -> float:
    """Return the lag-1 autocorrelation; 0 for a constant series."""
    mean = statistics.fmean(values)
    centred = [value - mean for value in values]
    whole = math.fsum(value**2 for value in centred)
    return math.fsum(a * b for a, b in pairwise(centred)) / whole if whole else 0.0


def latest(runs: Iterable[Head], conditions: Mapping[str, Any], now_utc: str) -> Calibration | None:
    """Return the newest calibration under the same conditions, if it is at most 7 days old.

    ``runs`` are the heads of all runs in the results directory, the newest first.
    """
    for directory, head in runs:
        gate = head.get("gate") or {}
        if gate.get("mode") != "calibration" or gate.get("conditions") != conditions:
            continue
        age = datetime.fromisoformat(now_utc) - datetime.fromisoformat(str(head["at_utc"]))
        if not timedelta() <= age <= VALID:  # the age is below 0 after a wrong clock or an edited journal
            continue
        try:
            with judging(directory):
                found = estimate(load_record(directory))
        except BenchError:
            continue  # a damaged journal is no calibration; `bench verify` says what is wrong with it
        if found is not None:  # one that was interrupted does not hide those before it
            return found
    return None
