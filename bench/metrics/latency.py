"""Compute the latency of requests in the solo pass, and the times of a cold start."""

from __future__ import annotations

import math

from bench.metrics import processes
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figures, Metric
from bench.stats.plain_sum import plain_sum

TTFT = Metric("ttft_ms", "ms", "lower", "t_first − sent, per request", "time to the first token")
TPOT = Metric(
    "tpot_ms", "ms", "lower", "(t_last − t_first)/(n_out − 1), per request", "time per output token"
)
ITL = Metric(
    "itl_ms",
    "ms",
    "lower",
    "t_j − t_(j−1), pooled over requests, first token excluded",
    "time between two tokens",
)
E2EL = Metric("e2el_ms", "ms", "lower", "end − sent, per request", "time of a whole request")
LOAD = Metric(
    "load_s",
    "s",
    "lower",
    "model loaded − load asked, imports included",
    "cold start: time to load the model",
)
FIRST = Metric(
    "first_request_ms",
    "ms",
    "lower",
    "end − sent of the worker's first request",
    "cold start: time of the first request",
)
PLACE = 1
METRICS = (TTFT, TPOT, ITL, E2EL, LOAD, FIRST)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the latencies. Every request of a batch counts once, with the time stamps of the batch.

    Answers that come all at once have no time to the first token and no time between tokens.
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
        LOAD.key: LOAD.scalar(processes.between_starts(load_s, [start.load_s for start in starts])),
        FIRST.key: FIRST.scalar(
            processes.between_starts(first_ms, [start.first_request_ms for start in starts])
        ),
    }


def samples(arm: ArmRecord) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return four lists of milliseconds, (TTFT, TPOT, ITL, E2EL).

    TTFT is the time to the first token, TPOT the mean time of each further token, ITL the times between
    tokens, and E2EL the time of the whole request.
    """
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
                tpot.append(plain_sum(steps) / len(steps))
                itl.extend(steps)
    return ttft, tpot, itl, e2el


def worked(arm: ArmRecord, _run: RunRecord) -> dict[str, str]:
    """Return the mean of each latency as a sum divided by a count."""
    keys = (TTFT.key, TPOT.key, ITL.key, E2EL.key)
    by_key = zip(keys, samples(arm), strict=True)
    return {key: f"{math.fsum(values):.6g} / {len(values)}" for key, values in by_key if values}
