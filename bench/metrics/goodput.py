"""Count good requests, which meet every time limit of the config (``slo``), and compute the cost of one.

A config without such limits has none of these figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.metrics import cost
from bench.metrics.throughput import totals
from bench.records import ArmRecord, RunRecord, TimedBatch
from bench.stats.figure import SHARE, Figures, Metric, value_of
from bench.stats.intervals import share_interval

GOODPUT = Metric(
    "request_goodput", "req/s", "higher", "#{requests that meet every limit}/W", "good requests per second"
)
FRACTION = Metric(
    "good_fraction",
    "1",
    "higher",
    "#{requests that meet every limit}/N_all",
    "share of good requests",
    range=SHARE,
)
PER_GOOD = Metric("cost_per_good_request_usd", "USD", "lower", "C_run/N_good", "cost of one good request")
PLACE = 5.5
METRICS = (GOODPUT, FRACTION, PER_GOOD)
LIMITS = ("ttft_ms", "tpot_ms", "e2el_ms")


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of the solo pass. If no request is good, the cost of one is None, not infinite."""
    limits = limits_of(run)
    if not limits:
        return {}
    sums, good = totals(arm), count(arm, limits)
    if sums is None or good is None:
        return {metric.key: None for metric in METRICS}
    per_request = value_of(cost.figures(arm, run)[cost.PER_REQUEST.key])
    per_good = per_request * sums.requests / good if per_request is not None and good else None
    share = share_interval(good, sums.requests)
    return {
        GOODPUT.key: GOODPUT.scalar(good / sums.wall_s),
        FRACTION.key: FRACTION.scalar(share, good=good, requests=sums.requests),
        PER_GOOD.key: PER_GOOD.scalar(per_good),
    }


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of each figure."""
    limits, sums = limits_of(run), totals(arm)
    good = count(arm, limits)
    if not limits or sums is None or good is None:
        return {}
    arithmetic = {GOODPUT.key: f"{good} / {sums.wall_s:.6g}", FRACTION.key: f"{good} / {sums.requests}"}
    if good and (per_request := cost.worked(arm, run).get(cost.PER_REQUEST.key)):
        arithmetic[PER_GOOD.key] = f"{per_request} * {sums.requests} / {good}"
    return arithmetic


def limits_of(run: RunRecord) -> dict[str, float]:
    """Return the limits (ms) of a good request by key, such as ``ttft_ms``."""
    given = run.spec.get("slo") or {}
    return {key: float(given[key]) for key in LIMITS if given.get(key) is not None}


def count(arm: ArmRecord, limits: Mapping[str, float]) -> int | None:
    """Count the requests that met every limit; None if tokens have a limit, but answers come all at once."""
    if any(batch.whole for batch in arm.solo) and set(limits) & {"ttft_ms", "tpot_ms"}:
        return None
    return sum(batch.requests for batch in arm.solo if all(_met(batch, limits)))


def _met(batch: TimedBatch, limits: Mapping[str, float]) -> Iterator[bool]:
    """Yield, for each limit, whether all requests of a batch met it; they have the same time stamps."""
    steps = len(batch.stamps_ns) - 1
    times = {
        "ttft_ms": 1e3 * batch.prefill_s,
        "tpot_ms": 1e3 * batch.decode_s / steps if steps else 0.0,
        "e2el_ms": 1e3 * batch.duration_s,
    }
    for key, most in limits.items():
        yield times[key] <= most
