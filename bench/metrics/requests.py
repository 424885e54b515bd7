"""The figures of a load, from its samples and a price and nothing else: they can be computed again."""

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
from bench.stats.figure import Figures, Metric

TTFT_SCHED = Metric(
    "ttft_sched_ms", "ms", "lower", "t_first − scheduled arrival", "queue of the client included"
)
E2EL_SCHED = Metric("e2el_sched_ms", "ms", "lower", "end − scheduled arrival", "queue of the client included")
TTFO = Metric("ttfo_ms", "ms", "lower", "first token that is no reasoning − sent", "first visible token")
ICL = Metric("icl_ms", "ms", "lower", "t_j − t_(j−1) of events, whatever they carried", "chunk latency")
LATE = Metric(
    "scheduling_error_ms", "ms", "lower", "sent − scheduled arrival", "of the client, not of the server"
)
TOKEN_GOODPUT = Metric("token_goodput", "tok/s", "higher", "Σ n_out(good)/W", "tokens of good requests")
ERRORS = Metric("error_rate", "1", "lower", "N_failed or cut short/N_all", "requests that failed")
CACHED = Metric(
    "prefix_cache_share", "1", "higher", "Σ cached input tokens/Σ n_in", "of the server's own usage"
)
RUN_USD = Metric("cost_of_run_usd", "USD", "lower", "R * G * W / 3600 / u", "the whole run")
LIMITS = ("ttft", "tpot", "e2el")


@dataclass(frozen=True)
class Limits:
    """What a good request is: most milliseconds by name; ``ttft`` and ``e2el`` from the scheduled arrival."""

    most_ms: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, most in self.most_ms.items():
            if name not in LIMITS or not 0 < most < math.inf:
                raise UsageError(f"{name}:{most:g} is no limit of time; known: {', '.join(LIMITS)}")

    def good(self, one: Sample) -> bool:
        """Return whether a request is whole and within every limit; a reply of one token has no TPOT."""
        times = {"ttft": one.ttft_sched_ms, "tpot": one.tpot_ms, "e2el": one.e2el_sched_ms} if one.ok else {}
        return one.ok and all((times[name] or 0.0) <= most for name, most in self.most_ms.items())


@dataclass(frozen=True)
class Counts:
    """How many requests there were, how each ended, and how sure their tokens are."""

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
        """Return it as it stands in a summary."""
        return dict(vars(self))


def counts(samples: Sequence[Sample], limits: Limits, wall_s: float | None = None) -> Counts:
    """Count. W runs from the first request sent to the last end, failed ones included; it is given where the
    samples come from several loads."""
    ended, ok = Counter(one.status for one in samples), [one for one in samples if one.ok]
    if wall_s is None:
        wall_s = (max(one.end_ns for one in samples) - min(one.sent_ns for one in samples)) / 1e9
    return Counts(
        len(samples), len(ok), ended["failed"], ended["cut short"], sum(map(limits.good, samples)),
        sum(max(one.attempts - 1, 0) for one in samples), sum(one.reconnects for one in samples),
        sum(not one.verified for one in ok), sum(one.tokens[0] > 1 for one in ok),
        sum(one.input_tokens for one in ok), sum(one.n_out for one in ok), wall_s,
    )  # fmt: skip


def figures(
    samples: Sequence[Sample], limits: Limits, price: Price | None, wall_s: float | None = None
) -> Figures:
    """Return every figure by its key; None where nothing can be said. ``wall_s`` is as in ``counts``.

    Latencies are those of whole replies only, so that a failure cannot look fast. Requests that failed count
    in W, in the error rate and in the cost of those that did not.
    """
    found, ok = counts(samples, limits, wall_s), [one for one in samples if one.ok]
    wall_s, good = found.wall_s, [one for one in ok if limits.good(one)]
    rate = 1 / wall_s if ok and wall_s > 0 else None
    return {
        **_latencies(ok),
        LATE.key: LATE.distribution([(one.sent_ns - one.scheduled_ns) / 1e6 for one in samples]),
        REQUESTS.key: REQUESTS.scalar(rate and len(ok) * rate),
        OUTPUT.key: OUTPUT.scalar(rate and found.output_tokens * rate),
        TOTAL.key: TOTAL.scalar(rate and (found.input_tokens + found.output_tokens) * rate),
        ERRORS.key: ERRORS.scalar(1 - found.ok / found.all),
        **(_goodput(found, good) if limits.most_ms else {}),
        **_costs(found, limits, price),
    }


def _latencies(ok: Sequence[Sample]) -> Figures:
    tpot = [value for one in ok if (value := one.tpot_ms) is not None]
    ttfo = [value for one in ok if one.thoughts and (value := one.ttfo_ms) is not None]
    return {
        TTFT.key: TTFT.distribution([one.ttft_ms for one in ok]),
        TTFT_SCHED.key: TTFT_SCHED.distribution([one.ttft_sched_ms for one in ok]),
        TTFO.key: TTFO.distribution(ttfo),
        TPOT.key: TPOT.distribution(tpot),
        ITL.key: ITL.distribution([gap for one in ok for gap in one.itl_ms()]),
        ICL.key: ICL.distribution([gap for one in ok for gap in one.gaps_ms()]),
        E2EL.key: E2EL.distribution([one.e2el_ms for one in ok]),
        E2EL_SCHED.key: E2EL_SCHED.distribution([one.e2el_sched_ms for one in ok]),
    }


def _goodput(found: Counts, good: Sequence[Sample]) -> Figures:
    per_s = 1 / found.wall_s if found.wall_s > 0 else 0.0
    return {
        GOODPUT.key: GOODPUT.scalar(len(good) * per_s),
        FRACTION.key: FRACTION.scalar(len(good) / found.all, good=len(good), requests=found.all),
        TOKEN_GOODPUT.key: TOKEN_GOODPUT.scalar(sum(one.n_out for one in good) * per_s),
    }


def _costs(found: Counts, limits: Limits, price: Price | None) -> Figures:
    keys = (RUN_USD.key, PER_REQUEST.key, PER_1K.key, *([PER_GOOD.key] if limits.most_ms else []))
    if price is None or not found.ok or not found.wall_s > 0:
        return dict.fromkeys(keys)
    good = found.good if limits.most_ms else None
    cost = run_cost(price, Usage(found.wall_s, found.ok, found.input_tokens, found.output_tokens, good))
    costs = {
        RUN_USD.key: RUN_USD.scalar(cost.run_usd),
        PER_REQUEST.key: PER_REQUEST.scalar(cost.per_request_usd),
        PER_1K.key: PER_1K.scalar(cost.per_1k_tokens_usd),
        PER_GOOD.key: PER_GOOD.scalar(cost.per_good_request_usd),
    }
    return {key: costs[key] for key in keys}
