"""A cascade of a finished run with a hosted API in the place of its large model.

The rule of a cascade looks at the edge's answer only, so the edge's dollars and the share of requests that go
on are the same whoever answers those. An API bills nothing for the bytes that it sends.
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
    """What a cascade measured that does not depend on its large model.

    ``edge_usd`` are the dollars of the edge for a mean request. ``share`` of all requests (from 0 to 1) went
    on, and ``reached`` is the share that came to the large model: the others found the link down, and nothing
    is billed for them. ``mix`` is the mean request that an API is billed for.
    """

    title: str
    edge_usd: Interval
    share: Interval
    reached: Interval
    mix: TokenMix


@dataclass(frozen=True)
class EdgeFirstAtApi:
    """A cascade with one API that bills ``api_usd`` for a request: the dollars of a mean request, and these
    divided by the API's alone (None if the API is free)."""

    title: str
    api_usd: float
    request_usd: Interval
    ratio: Interval | None


def edge_first_rows(run: RunSummary) -> tuple[list[EdgeFirst], list[str]]:
    """Return the cascades of a run that were measured to their end, and for each other one why it has no
    price with an API."""
    found, why = list[EdgeFirst](), list[str]()
    for row in run.rows:
        if not row.ok or row.figure(cascade.EDGE) is None:
            continue
        one = _edge_first(run, row)
        if isinstance(one, EdgeFirst):
            found.append(one)
        else:
            why.append(f"{row.title} {one}")
    return found, why


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
    """Return the share of requests that came to the large model; None where the run does not say.

    Without an outage it is the escalation rate, also in a run of an earlier version.
    """
    if not rate.notes.get("offline"):
        return rate.interval
    n, reached = rate.notes.get("n"), rate.notes.get("reached")
    if not isinstance(n, int) or not isinstance(reached, int) or not 0 <= reached <= n or not n:
        return None
    return wilson(reached, n)


def at_api(one: EdgeFirst, api_usd: float) -> EdgeFirstAtApi:
    """Return a cascade whose large model is an API that bills ``api_usd`` for a mean request.

    A request that reaches the large model is billed like the mean request, also if its answer was lost on the
    way back. One that found the link down was never sent, and is not billed. The bounds of both parts are
    added, so together they hold in at least 90 % of repetitions.
    """
    low, high = (
        None if edge is None or share is None else edge + share * api_usd
        for edge, share in ((one.edge_usd.low, one.reached.low), (one.edge_usd.high, one.reached.high))
    )
    usd = Interval(one.edge_usd.value + one.reached.value * api_usd, low, high)
    return EdgeFirstAtApi(one.title, api_usd, usd, usd.times(1 / api_usd) if api_usd else None)
