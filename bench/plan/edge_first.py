"""Compute what a measured cascade would cost if a hosted API took the place of its large model.

The rule of a cascade looks only at the edge's answer. So the edge's dollars and the share of escalated
requests do not depend on which large model answers them. An API bills nothing for the bytes that it sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.metrics import cascade
from bench.plan.served import billed_mix
from bench.pricing.apis import TokenMix
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure
from bench.stats.intervals import Interval
from bench.stats.proportions import wilson

FORMULA_EDGE_FIRST: Final = "edge dollars + share that reaches the large model * API request"


@dataclass(frozen=True)
class EdgeFirst:
    """The measurements of a cascade that do not depend on its large model.

    ``edge_usd`` is what the edge costs for a mean request. ``share`` of all requests (from 0 to 1) were
    escalated, and ``reached`` is the share that came to the large model: the others found the link down, so
    nothing is billed for them. ``mix`` is the mean request as an API bills it.
    """

    title: str
    edge_usd: Interval
    share: Interval
    reached: Interval
    mix: TokenMix


@dataclass(frozen=True)
class EdgeFirstAtApi:
    """A cascade whose large model is an API that bills ``api_usd`` for a request.

    ``request_usd`` is the cost of a mean request, and ``ratio`` is that cost divided by ``api_usd``; it is
    None if the API is free.
    """

    title: str
    api_usd: float
    request_usd: Interval
    ratio: Interval | None


def edge_first_rows(run: RunSummary) -> tuple[list[EdgeFirst], list[str]]:
    """Return (the cascades of a run that can be priced with an API, the reasons why the others cannot)."""
    cascades, why = list[EdgeFirst](), list[str]()
    for row in run.rows:
        if not row.ok or row.figure(cascade.EDGE) is None:
            continue
        result = _edge_first(run, row)
        if isinstance(result, EdgeFirst):
            cascades.append(result)
        else:
            why.append(f"{row.title} {result}")
    return cascades, why


def _edge_first(run: RunSummary, row: Row) -> EdgeFirst | str:
    """Return a cascade, or why it has no price with an API."""
    edge, rate, mix = row.figure(cascade.EDGE), row.figure(cascade.RATE), billed_mix(run, row)
    if edge is None or rate is None or mix is None:
        return "has no dollars of its edge, no escalation rate or no tokens of a request"
    reached = _reached(rate)
    if reached is None:
        return (
            f"lost {rate.notes.get('offline')} requests on the link, and run.json is of an earlier version, "
            "which does not say whether the large model had them; --hardware computes it anew"
        )
    return EdgeFirst(row.title, edge.interval, rate.interval, reached, mix)


def _reached(rate: Figure) -> Interval | None:
    """Return the share of requests that came to the large model, or None if the run does not say.

    Without an outage it is the escalation rate. This also works for runs of earlier versions, which did not
    record the number of requests that came through.
    """
    if not rate.notes.get("offline"):
        return rate.interval
    n, reached = rate.notes.get("n"), rate.notes.get("reached")
    if not isinstance(n, int) or not isinstance(reached, int) or not 0 <= reached <= n or not n:
        return None
    return wilson(reached, n)


def at_api(measured: EdgeFirst, api_usd: float) -> EdgeFirstAtApi:
    """Return a cascade whose large model is an API that bills ``api_usd`` for a mean request.

    A request that reaches the large model is billed like the mean request, even if its answer is lost on the
    way back. A request that finds the link down is not sent and not billed. The 95 % bounds of both parts are
    added, so by Bonferroni's inequality the sum is covered with a probability of at least 90 %.
    """
    edge_usd, reached = measured.edge_usd, measured.reached
    low, high = (
        None if edge is None or share is None else edge + share * api_usd
        for edge, share in ((edge_usd.low, reached.low), (edge_usd.high, reached.high))
    )
    usd = Interval(edge_usd.value + reached.value * api_usd, low, high)
    return EdgeFirstAtApi(measured.title, api_usd, usd, usd.times(1 / api_usd) if api_usd else None)
