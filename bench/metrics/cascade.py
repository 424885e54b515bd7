"""Count a cascade's requests that went to the large model, and compute the costs and times of both models."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from bench.metrics import cascade_bills, cost
from bench.pricing import cascade_cost
from bench.pricing.cascade_cost import Rates
from bench.records import ArmRecord, Cascaded, Json, RunRecord
from bench.stats.figure import SHARE, Figures, Metric
from bench.stats.intervals import Interval, positive_mean
from bench.stats.proportions import wilson

RATE = Metric(
    "escalation_rate", "1", None, "requests that the rule sent on ÷ requests; interval by Wilson",
    "share of requests that went to the large model", range=SHARE
)  # fmt: skip
EDGE = Metric("edge_usd_per_request", "USD", "lower", "Σ edge_s · R_edge/3600 ÷ N", "cost of the edge model")
CLOUD = Metric(
    "cloud_usd_per_request", "USD", "lower", "Σ cloud_s · R_cloud ÷ N, or Σ tokens · their prices ÷ N",
    "cost of the large model",
)  # fmt: skip
EGRESS = Metric(
    "egress_usd_per_request",
    "USD",
    "lower",
    "Σ received bytes/1e9 · egress ÷ N",
    "cost of the bytes that leave the cloud",
)
STAYED = Metric(
    "stayed_e2el_ms",
    "ms",
    "lower",
    "end − sent, of requests that stayed",
    "time of a request that only the edge model answered",
)
WENT = Metric(
    "escalated_e2el_ms",
    "ms",
    "lower",
    "end − sent, of requests sent on",
    "time of a request that went to the large model",
)
LINK = Metric("link_ms", "ms", "lower", "mean link_s of requests that went on", "time on the link")
SENT = Metric("sent_bytes", "B", "lower", "mean of requests that went on", "text to the cloud, per request")
RECEIVED = Metric(
    "received_bytes", "B", "lower", "mean of requests that went on", "text from the cloud, per request"
)
PLACE = 5.6
MOST_REASONS = 3  # the most frequent reasons why a server gave no answer are kept
METRICS = (RATE, EDGE, CLOUD, EGRESS, STAYED, WENT, LINK, SENT, RECEIVED)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of the solo pass; None for a row that is not a cascade.

    The figures of escalated requests are None if there was none, and so are those of requests that stayed.
    The notes have the mean seconds of work of each side, per request that it worked on.
    """
    terms, by = arm.cascade, cascade_bills.rates_of(arm, cost.price_of(arm, run))
    if terms is None or by is None or not arm.cascaded:
        return {metric.key: None for metric in METRICS}
    sent = [request for request in arm.cascaded if request.escalated]
    count = len(arm.cascaded)
    notes = {
        "n": count,
        "escalated": len(sent),
        "offline": sum(request.offline for request in sent),
        "reached": sum(request.reached for request in sent),
        "rule": terms["rule"],
        "threshold": terms["threshold"],
        "same_tokens": terms["same_tokens"],
        **({"refused": _refused(sent)} if any(request.refused for request in sent) else {}),
        **({"learnt": _learnt(terms)} if terms.get("learnt") else {}),
    }
    stayed, went = _durations(arm)
    return {
        RATE.key: RATE.scalar(wilson(len(sent), count), **notes),
        **_paid(arm.cascaded, terms, by),
        STAYED.key: STAYED.distribution(stayed),
        WENT.key: WENT.distribution(went),
        LINK.key: LINK.scalar(_mean([1e3 * request.link_s for request in sent])),
        SENT.key: SENT.scalar(_mean([float(request.sent_bytes) for request in sent])),
        RECEIVED.key: RECEIVED.scalar(_mean([float(request.received_bytes) for request in sent])),
    }


def _paid(done: Sequence[Cascaded], terms: Json, by: Rates) -> Figures:
    """Return the dollars per request of each side, with its mean seconds of work in the notes."""
    bills = [cascade_cost.bill([request], by) for request in done]
    reached = [request.cloud_s for request in done if request.reached]
    return {
        EDGE.key: EDGE.scalar(
            positive_mean([bill.edge_usd for bill in bills]),
            edge=terms["edge"],
            seconds=fmean(request.edge_s for request in done),
            usd_per_hour=terms["edge_usd_per_hour"],
            power_usd_per_hour=terms.get("edge_power_usd_per_hour", 0.0),
        ),
        CLOUD.key: CLOUD.scalar(
            _mean_if_paid([bill.cloud_usd for bill in bills]),
            **({"seconds": fmean(reached)} if reached else {}),
            **({"by_tokens": True} if by.tokens_usd is not None else {}),
        ),
        EGRESS.key: EGRESS.scalar(_mean_if_paid([bill.egress_usd for bill in bills])),
    }


def _mean_if_paid(usd: Sequence[float]) -> Interval:
    """Return the mean dollars per request; without bounds if nothing was paid, as other requests may pay."""
    return positive_mean(usd) if any(usd) else Interval(0.0, None, None)


def _refused(sent: Sequence[Cascaded]) -> list[list[object]]:
    """Return [reason why no answer came, number of requests], the most frequent reason first."""
    reasons = Counter(request.refused for request in sent if request.refused)
    return [[reason, count] for reason, count in reasons.most_common(MOST_REASONS)]


def _learnt(terms: Json) -> list[list[object]]:
    """Return [suite, questions that trained the rule, those of them that both models answered the same]."""
    return [[learnt["suite"], learnt["n"], learnt["same"]] for learnt in terms["learnt"]]


def _durations(arm: ArmRecord) -> tuple[list[float], list[float]]:
    """Return (ms of the requests that stayed, ms of those that went on); a request takes as long as its
    batch."""
    stayed: list[float] = []
    went: list[float] = []
    left = iter(arm.cascaded)
    for batch in arm.solo:
        for request in (next(left) for _ in range(batch.requests)):
            (went if request.escalated else stayed).append(1e3 * batch.duration_s)
    return stayed, went


def _mean(values: Sequence[float]) -> Interval | None:
    return positive_mean(values) if values else None


def worked(arm: ArmRecord, run: RunRecord) -> dict[str, str]:
    """Return the arithmetic of the share of escalated requests and of the dollars."""
    by = cascade_bills.rates_of(arm, cost.price_of(arm, run))
    if by is None or not arm.cascaded:
        return {}
    done: Sequence[Cascaded] = arm.cascaded
    count = len(done)
    edge_s = math.fsum(request.edge_s for request in done)
    received = sum(request.received_bytes for request in done)
    return {
        RATE.key: f"{sum(request.escalated for request in done)} / {count}",
        EDGE.key: f"{edge_s:.6g} * {by.edge_usd_per_s:.6g} / {count}",
        CLOUD.key: f"{_worked_cloud(done, by)} / {count}",
        EGRESS.key: f"{received} * {by.egress_usd_per_byte:.6g} / {count}",
    }


def _worked_cloud(done: Sequence[Cascaded], by: Rates) -> str:
    """Return the arithmetic of the large model's dollars for all requests, by seconds or by tokens."""
    if by.tokens_usd is None:
        return f"{math.fsum(request.cloud_s for request in done):.6g} * {by.cloud_usd_per_s:.6g}"
    tokens = (sum(request.billed_in for request in done), sum(request.billed_out for request in done))
    each = (f"{n} * {usd:.6g}" for n, usd in zip(tokens, by.tokens_usd, strict=True))
    return f"({' + '.join(each)})"
