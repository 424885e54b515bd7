"""A cascade: how many requests went on to the large model, who was paid what, and how long each kind took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from bench.metrics import cost, routed
from bench.pricing import two_prices
from bench.pricing.two_prices import Rates
from bench.records import ArmRecord, Cascaded, Json, RunRecord
from bench.stats.figure import Figures, Metric
from bench.stats.intervals import Interval, positive_mean
from bench.stats.proportions import wilson

RATE = Metric(
    "escalation_rate", "1", None, "requests that the rule sent on ÷ requests; interval by Wilson",
    "went on to the large model",
)  # fmt: skip
EDGE = Metric("edge_usd_per_request", "USD", "lower", "Σ edge_s · R_edge/3600 ÷ N", "paid for the edge")
CLOUD = Metric(
    "cloud_usd_per_request", "USD", "lower", "Σ cloud_s · R_cloud ÷ N, or Σ tokens · their prices ÷ N",
    "paid for the cloud",
)  # fmt: skip
EGRESS = Metric(
    "egress_usd_per_request",
    "USD",
    "lower",
    "Σ received bytes/1e9 · egress ÷ N",
    "bytes from the cloud",
)
STAYED = Metric("stayed_e2el_ms", "ms", "lower", "end − sent, of requests that stayed", "edge alone")
WENT = Metric("escalated_e2el_ms", "ms", "lower", "end − sent, of requests sent on", "edge, link, cloud")
LINK = Metric("link_ms", "ms", "lower", "mean link_s of requests that went on", "waited for the link")
SENT = Metric("sent_bytes", "B", "lower", "mean of requests that went on", "text to the cloud")
RECEIVED = Metric("received_bytes", "B", "lower", "mean of requests that went on", "text from the cloud")
PLACE = 5.6
MOST_REASONS = 3  # why no answer of a server came
METRICS = (RATE, EDGE, CLOUD, EGRESS, STAYED, WENT, LINK, SENT, RECEIVED)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of the solo pass; None for a row that is no cascade.

    Those of requests that went on are None where none did, and so are those of requests that stayed. The
    notes have the mean seconds of work of each side, per request that came to it.
    """
    terms, by = arm.cascade, routed.rates_of(arm, cost.price_of(arm, run))
    if terms is None or by is None or not arm.cascaded:
        return {metric.key: None for metric in METRICS}
    sent = [one for one in arm.cascaded if one.escalated]
    count = len(arm.cascaded)
    notes = {
        "n": count,
        "escalated": len(sent),
        "offline": sum(one.offline for one in sent),
        "reached": sum(one.reached for one in sent),
        "rule": terms["rule"],
        "threshold": terms["threshold"],
        "same_tokens": terms["same_tokens"],
        **({"refused": _refused(sent)} if any(one.refused for one in sent) else {}),
        **({"learnt": _learnt(terms)} if terms.get("learnt") else {}),
    }
    stayed, went = _durations(arm)
    return {
        RATE.key: RATE.scalar(wilson(len(sent), count), **notes),
        **_paid(arm.cascaded, terms, by),
        STAYED.key: STAYED.distribution(stayed),
        WENT.key: WENT.distribution(went),
        LINK.key: LINK.scalar(_mean([1e3 * one.link_s for one in sent])),
        SENT.key: SENT.scalar(_mean([float(one.sent_bytes) for one in sent])),
        RECEIVED.key: RECEIVED.scalar(_mean([float(one.received_bytes) for one in sent])),
    }


def _paid(done: Sequence[Cascaded], terms: Json, by: Rates) -> Figures:
    """Return the dollars of each side, with the mean seconds of work of a request that came to it."""
    by_payee = [two_prices.bill([one], by) for one in done]
    reached = [one.cloud_s for one in done if one.reached]
    return {
        EDGE.key: EDGE.scalar(
            positive_mean([one.edge_usd for one in by_payee]),
            edge=terms["edge"],
            seconds=fmean(one.edge_s for one in done),
            usd_per_hour=terms["edge_usd_per_hour"],
            power_usd_per_hour=terms.get("edge_power_usd_per_hour", 0.0),
        ),
        CLOUD.key: CLOUD.scalar(
            positive_mean([one.cloud_usd for one in by_payee]),
            **({"seconds": fmean(reached)} if reached else {}),
        ),
        EGRESS.key: EGRESS.scalar(positive_mean([one.egress_usd for one in by_payee])),
    }


def _refused(sent: Sequence[Cascaded]) -> list[list[object]]:
    """Return [why no answer came, of how many requests], the most frequent first."""
    why = Counter(one.refused for one in sent if one.refused)
    return [[reason, count] for reason, count in why.most_common(MOST_REASONS)]


def _learnt(terms: Json) -> list[list[object]]:
    """Return [suite, questions that trained the rule, those that both models answered the same]."""
    return [[one["suite"], one["n"], one["same"]] for one in terms["learnt"]]


def _durations(arm: ArmRecord) -> tuple[list[float], list[float]]:
    """Return the milliseconds of the requests that stayed, and of those that went on: of their batches."""
    found: tuple[list[float], list[float]] = [], []
    left = iter(arm.cascaded)
    for batch in arm.solo:
        for one in (next(left) for _ in range(batch.requests)):
            found[one.escalated].append(1e3 * batch.duration_s)
    return found


def _mean(values: Sequence[float]) -> Interval | None:
    return positive_mean(values) if values else None


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of the shares and the dollars."""
    by = routed.rates_of(arm, cost.price_of(arm, run))
    if by is None or not arm.cascaded:
        return {}
    done: Sequence[Cascaded] = arm.cascaded
    count = len(done)
    edge_s = math.fsum(one.edge_s for one in done)
    received = sum(one.received_bytes for one in done)
    return {
        RATE.key: f"{sum(one.escalated for one in done)} / {count}",
        EDGE.key: f"{edge_s:.6g} * {by.edge_usd_per_s:.6g} / {count}",
        CLOUD.key: f"{_worked_cloud(done, by)} / {count}",
        EGRESS.key: f"{received} * {by.egress_usd_per_byte:.6g} / {count}",
    }


def _worked_cloud(done: Sequence[Cascaded], by: Rates) -> str:
    """Return the dollars of the large model before they are shared out: of its seconds, or of tokens."""
    if by.tokens_usd is None:
        return f"{math.fsum(one.cloud_s for one in done):.6g} * {by.cloud_usd_per_s:.6g}"
    tokens = (sum(one.billed_in for one in done), sum(one.billed_out for one in done))
    each = (f"{n} * {usd:.6g}" for n, usd in zip(tokens, by.tokens_usd, strict=True))
    return f"({' + '.join(each)})"
