"""Latency of requests in the solo pass."""

from __future__ import annotations

import math

from bench.metrics import processes
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric

TTFT = Metric("ttft_ms", "ms", "lower", "t_first − sent, per request", "time to the first token")
TPOT = Metric(
    "tpot_ms", "ms", "lower", "(t_last − t_first)/(n_out − 1), per request", "time per output token"
)
ITL = Metric("itl_ms", "ms", "lower", "t_j − t_(j−1), pooled over requests, first token excluded", "gap")
E2EL = Metric("e2el_ms", "ms", "lower", "end − sent, per request", "whole request")
LOAD = Metric("load_s", "s", "lower", "model loaded − load asked, imports included", "cold start: loading")
FIRST = Metric("first_request_ms", "ms", "lower", "end − sent of the worker's first request", "cold start")
PLACE = 1
METRICS = (TTFT, TPOT, ITL, E2EL, LOAD, FIRST)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the latencies. Each request of a batch counts once, and all have the batch's time stamps.

    An answer that comes as a whole has no first token.
    """
    between, starts = processes.half_width(arm, run), processes.cold_starts(arm, run)
    load_s = arm.loaded.load_s if arm.loaded else None
    first_ms = arm.warm_up.first_request_ms if arm.warm_up else None
    ttft, tpot, itl, e2el = samples(arm)
    return {
        TTFT.key: TTFT.distribution(ttft, between),
        TPOT.key: TPOT.distribution(tpot, between),
        ITL.key: ITL.distribution(itl, between),
        E2EL.key: E2EL.distribution(e2el, between),
        LOAD.key: LOAD.scalar(processes.between_starts(load_s, [one.load_s for one in starts])),
        FIRST.key: FIRST.scalar(processes.between_starts(first_ms, [one.first_request_ms for one in starts])),
    }


def samples(arm: ArmRecord) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return the milliseconds of every request: to the first token, for a further one (the mean), between
    tokens, and of the whole request."""
    ttft: list[float] = []
    tpot: list[float] = []
    itl: list[float] = []
    e2el: list[float] = []
    for batch in arm.solo:
        steps = [(b - a) / 1e6 for a, b in zip(batch.stamps_ns, batch.stamps_ns[1:], strict=False)]
        for _ in range(batch.requests):
            e2el.append(batch.duration_s * 1e3)
            if not batch.whole:
                ttft.append(batch.prefill_s * 1e3)
                tpot.append(sum(steps) / len(steps))
                itl.extend(steps)
    return ttft, tpot, itl, e2el


def worked(arm: ArmRecord, _run: RunRecord) -> dict[str, str]:
    """Return the mean of each latency as a sum divided by a count."""
    keys = (TTFT.key, TPOT.key, ITL.key, E2EL.key)
    found = zip(keys, samples(arm), strict=True)
    return {key: f"{math.fsum(one):.6g} / {len(one)}" for key, one in found if one}
