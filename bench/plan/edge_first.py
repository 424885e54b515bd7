"""A cascade of a finished run with a hosted API in the place of its large model.

The rule of a cascade looks at the edge's answer only, so the edge's dollars and the share of requests that go
on are the same whoever answers those. An API bills nothing for the bytes that it sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench.metrics import cascade
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

FORMULA_EDGE_FIRST: Final = "edge dollars + share that goes on * API request"


@dataclass(frozen=True)
class EdgeFirst:
    """What a cascade measured that does not depend on its large model: the dollars of the edge for a mean
    request, and the share of requests that go on (from 0 to 1)."""

    title: str
    edge_usd: Interval
    share: Interval


@dataclass(frozen=True)
class EdgeFirstAtApi:
    """A cascade with one API: the dollars of a mean request, and these divided by the API's alone."""

    title: str
    request_usd: Interval
    ratio: Interval


def edge_first_rows(run: RunSummary) -> list[EdgeFirst]:
    """Return the cascades of a run that were measured to their end."""
    found = []
    for row in run.rows:
        edge, rate = row.figure(cascade.EDGE), row.figure(cascade.RATE)
        if row.ok and edge is not None and rate is not None:
            found.append(EdgeFirst(row.title, edge.interval, rate.interval))
    return found


def at_api(one: EdgeFirst, api_usd: float) -> EdgeFirstAtApi:
    """Return a cascade whose large model is an API that bills ``api_usd`` for a mean request.

    A request that the rule sends on is billed like the mean request, also if the simulated link was down. The
    bounds of both parts are added, so together they hold in at least 90 % of repetitions.
    """
    low, high = (
        None if edge is None or share is None else edge + share * api_usd
        for edge, share in ((one.edge_usd.low, one.share.low), (one.edge_usd.high, one.share.high))
    )
    usd = Interval(one.edge_usd.value + one.share.value * api_usd, low, high)
    return EdgeFirstAtApi(one.title, usd, usd.times(1 / api_usd))
