"""Compute the figures of a load from its samples and a price only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import UsageError
from bench.metrics.cost import PER_1K, PER_REQUEST
from bench.metrics.goodput import FRACTION, GOODPUT, PER_GOOD
from bench.metrics.latency import E2EL, ITL, TPOT, TTFT
from bench.metrics.throughput import OUTPUT, REQUESTS, TOTAL
from bench.pricing.cost import Price, Usage, run_cost
from bench.records.samples import Sample
from bench.stats.figure import SHARE, Figures, Metric

TTFT_SCHED = Metric(
    "ttft_sched_ms",
    "ms",
    "lower",
    "t_first − scheduled arrival",
    "time to the first token, from the scheduled arrival",
)
E2EL_SCHED = Metric(
    "e2el_sched_ms",
    "ms",
    "lower",
    "end − scheduled arrival",
    "time of a whole request, from the scheduled arrival",
)
TTFO = Metric(
    "ttfo_ms",
    "ms",
    "lower",
    "first token that is no reasoning − sent",
    "time to the first token after the reasoning",
)
ICL = Metric(
    "icl_ms",
    "ms",
    "lower",
    "t_j − t_(j−1) of events, whatever they carried",
    "time between two events of a stream",
)
LATE = Metric(
    "scheduling_error_ms", "ms", "lower", "sent − scheduled arrival", "how late the client sent a request"
)
TOKEN_GOODPUT = Metric(
    "token_goodput", "tok/s", "higher", "Σ n_out(good)/W", "output tokens of good requests per second"
)
ERRORS = Metric(
    "error_rate", "1", "lower", "N_failed or cut short/N_all", "share of requests that failed", range=SHARE
)
CACHED = Metric(
    "prefix_cache_share",
    "1",
    "higher",
    "Σ cached input tokens/Σ n_in",
    "share of input tokens from the prefix cache, as the server reports it",
)
RUN_USD = Metric("cost_of_run_usd", "USD", "lower", "R * G * W / 3600 / u", "cost of the whole load")
LIMITS = ("ttft", "tpot", "e2el")


@dataclass(frozen=True)
class Limits:
    """Hold the limits of a good request in milliseconds, by name.

    ``ttft`` and ``e2el`` are measured from the scheduled arrival. Raises UsageError for an unknown name, or
    for a limit that is not above 0 and finite.
    """

    most_ms: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, most in self.most_ms.items():
            if name not in LIMITS or not 0 < most < math.inf:
                raise UsageError(f"{name}:{most:g} is no limit of time; known: {', '.join(LIMITS)}")

    def good(self, sample: Sample) -> bool:
        """Return whether a request succeeded and meets every limit; a reply of one token has no TPOT."""
        if not sample.ok:
            return False
        times = {"ttft": sample.ttft_sched_ms, "tpot": sample.tpot_ms, "e2el": sample.e2el_sched_ms}
        return all((times[name] or 0.0) <= most for name, most in self.most_ms.items())


@dataclass(frozen=True)
class Counts:
    """Count the requests of a load by how they ended, and their tokens.

    ``unverified`` counts requests whose number of tokens could not be verified, and ``several_first`` those
    whose first event had more than one token.
    """

    all: int
    ok: int
    failed: int
    cut_short: int
    good: int
    retries: int
    reconnects: int
    unverified: int
    several_first: int
    input_tokens: int
    output_tokens: int
    wall_s: float

    def to_json(self) -> dict[str, float]:
        """Return the counts as JSON for a summary."""
        return dict(vars(self))


def counts(samples: Sequence[Sample], limits: Limits, wall_s: float | None = None) -> Counts:
    """Count the requests of a load.

    ``wall_s`` (W) is the time from the sending of the first request to the end of the last one, including
    failed requests. It must be given if the samples come from several loads.
    """
    ended, ok = Counter(sample.status for sample in samples), [sample for sample in samples if sample.ok]
    if wall_s is None:
        wall_s = (max(sample.end_ns for sample in samples) - min(sample.sent_ns for sample in samples)) / 1e9
    return Counts(
        len(samples), len(ok), ended["failed"], ended["cut short"], sum(map(limits.good, samples)),
        sum(max(sample.attempts - 1, 0) for sample in samples), sum(sample.reconnects for sample in samples),
        sum(not sample.verified for sample in ok), sum(sample.tokens[0] > 1 for sample in ok),
        sum(sample.input_tokens for sample in ok), sum(sample.n_out for sample in ok), wall_s,
    )  # fmt: skip


def figures(
    samples: Sequence[Sample], limits: Limits, price: Price | None, wall_s: float | None = None
) -> Figures:
    """Return every figure by its key; None if it cannot be computed. ``wall_s`` is as in ``counts``.

    Only complete replies have latencies, so that a failure cannot look fast. Failed requests count in W and
    in the error rate, and the successful requests bear their cost.
    """
    totals, ok = counts(samples, limits, wall_s), [sample for sample in samples if sample.ok]
    wall_s, good = totals.wall_s, [sample for sample in ok if limits.good(sample)]
    rate = 1 / wall_s if ok and wall_s > 0 else None
    return {
        **_latencies(ok),
        LATE.key: LATE.distribution([(sample.sent_ns - sample.scheduled_ns) / 1e6 for sample in samples]),
        REQUESTS.key: REQUESTS.scalar(rate and len(ok) * rate),
        OUTPUT.key: OUTPUT.scalar(rate and totals.output_tokens * rate),
        TOTAL.key: TOTAL.scalar(rate and (totals.input_tokens + totals.output_tokens) * rate),
        ERRORS.key: ERRORS.scalar(1 - totals.ok / totals.all),
        **(_goodput(totals, good) if limits.most_ms else {}),
        **_costs(totals, limits, price),
    }


def _latencies(ok: Sequence[Sample]) -> Figures:
    tpot = [value for sample in ok if (value := sample.tpot_ms) is not None]
    ttfo = [value for sample in ok if sample.thoughts and (value := sample.ttfo_ms) is not None]
    return {
        TTFT.key: TTFT.distribution([sample.ttft_ms for sample in ok]),
        TTFT_SCHED.key: TTFT_SCHED.distribution([sample.ttft_sched_ms for sample in ok]),
        TTFO.key: TTFO.distribution(ttfo),
        TPOT.key: TPOT.distribution(tpot),
        ITL.key: ITL.distribution([gap for sample in ok for gap in sample.itl_ms()]),
        ICL.key: ICL.distribution([gap for sample in ok for gap in sample.gaps_ms()]),
        E2EL.key: E2EL.distribution([sample.e2el_ms for sample in ok]),
        E2EL_SCHED.key: E2EL_SCHED.distribution([sample.e2el_sched_ms for sample in ok]),
    }


def _goodput(totals: Counts, good: Sequence[Sample]) -> Figures:
    per_s = 1 / totals.wall_s if totals.wall_s > 0 else 0.0
    return {
        GOODPUT.key: GOODPUT.scalar(len(good) * per_s),
        FRACTION.key: FRACTION.scalar(len(good) / totals.all, good=len(good), requests=totals.all),
        TOKEN_GOODPUT.key: TOKEN_GOODPUT.scalar(sum(sample.n_out for sample in good) * per_s),
    }


def _costs(totals: Counts, limits: Limits, price: Price | None) -> Figures:
    keys = (RUN_USD.key, PER_REQUEST.key, PER_1K.key, *([PER_GOOD.key] if limits.most_ms else []))
    if price is None or not totals.ok or not totals.wall_s > 0:
        return dict.fromkeys(keys)
    good = totals.good if limits.most_ms else None
    cost = run_cost(price, Usage(totals.wall_s, totals.ok, totals.input_tokens, totals.output_tokens, good))
    costs = {
        RUN_USD.key: RUN_USD.scalar(cost.run_usd),
        PER_REQUEST.key: PER_REQUEST.scalar(cost.per_request_usd),
        PER_1K.key: PER_1K.scalar(cost.per_1k_tokens_usd),
        PER_GOOD.key: PER_GOOD.scalar(cost.per_good_request_usd),
    }
    return {key: costs[key] for key in keys}
