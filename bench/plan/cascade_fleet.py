"""Plan both places of a cascade for a stream of requests: their machines, and their cost per month.

Every request comes to the edge, and a share of them is escalated to the cloud. Requests are distributed at
random, so each server receives a Poisson process; its queue is simulated with a constant time of work. No
token is shown before the answer is complete, so the time to the first token is the time of the whole answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bench.plan.arrivals import poisson
from bench.plan.cascades import CascadeOption, Place
from bench.plan.fleet import (
    ALONE_LOAD,
    HALVINGS,
    HOURS_PER_DAY,
    MOST_LOAD,
    ROUNDING,
    SECONDS_PER_DAY,
    SIMULATED,
    Fleet,
    Latency,
    Slo,
    Stream,
    fleet,
    highest,
)
from bench.plan.queue_simulation import simulate

EDGE_SEED, CLOUD_SEED = 0, 1  # so that the two places do not get the same gaps between requests


@dataclass(frozen=True)
class WholeAnswers:
    """The passes of a server that computes each answer as a whole, in ``request_s`` seconds."""

    request_s: float
    most: int = 1
    chunk: int | None = None

    def seconds(
        self, decoding: int, context: float, prompt: int, pairs: float | None = None, before: float = 0.0
    ) -> float:
        """Return the seconds of a whole answer for the pass that reads the prompt, and 0 for any other."""
        return self.request_s if prompt else 0.0


@dataclass(frozen=True)
class Paid:
    """The machines of one place and their cost in US dollars per month, including power.

    ``rate`` is the requests per second that one server takes. ``scaled_usd`` is the cost if machines are paid
    by the hour; it is None for owned machines.
    """

    rate: float
    fleet: Fleet
    month_usd: float
    scaled_usd: float | None


@dataclass(frozen=True)
class PlannedCascade:
    """A cascade with the machines of both places.

    ``load`` is the largest share of time for which a server may work in the busiest hour. ``alone`` has the
    latencies of requests that never wait, ``busiest`` those of the busiest hour. ``edge`` and ``cloud`` are
    None if even requests that never wait are too slow. ``egress_usd`` is the monthly price of the bytes that
    leave the cloud. ``month_bounds_usd`` has the cost of a month with both the escalation rate and the
    seconds of work at their lower bounds, and at their upper bounds; the upper value is None if the requests
    would then be too slow with any number of machines.
    """

    option: CascadeOption
    load: float
    alone: Latency
    edge: Paid | None = None
    cloud: Paid | None = None
    egress_usd: float = 0.0
    busiest: Latency | None = None
    month_bounds_usd: tuple[float, float | None] | None = None

    @property
    def month_usd(self) -> float | None:
        """Return the US dollars per month of both places and the egress, or None if nothing was planned."""
        if self.edge is None or self.cloud is None:
            return None
        return self.edge.month_usd + self.cloud.month_usd + self.egress_usd

    @property
    def scaled_usd(self) -> float | None:
        """Return the US dollars per month if the cloud is paid by the hour; the edge devices are owned."""
        if self.edge is None or self.cloud is None or self.cloud.scaled_usd is None:
            return None
        return self.edge.month_usd + self.cloud.scaled_usd + self.egress_usd

    def request_usd(self, stream: Stream) -> float | None:
        """Return the US dollars per request, over a month of 365 / 12 days."""
        return None if self.month_usd is None else self.month_usd / stream.per_month


def times(option: CascadeOption, load: float, slo: Slo) -> Latency:
    """Simulate the latencies of whole requests if each server of both places works ``load`` of the time."""
    edge, cloud = (
        [
            reply.ttft_s
            for reply in simulate(
                poisson(load / place.request_s, SIMULATED, 1, 1, seed), WholeAnswers(place.request_s)
            ).replies
        ]
        for place, seed in ((option.edge, EDGE_SEED), (option.cloud, CLOUD_SEED))
    )
    share = option.escalated.value
    stayed = [(1000 * edge_s, (1 - share) / len(edge)) for edge_s in edge]
    went = [
        (1000 * (edge_s + option.link_s + cloud_s), share / len(edge))
        for edge_s, cloud_s in zip(edge, cloud, strict=True)
    ]
    whole = sorted(stayed + went)
    good = math.fsum(weight for ms, weight in whole if slo.ttft_ms is None or ms <= slo.ttft_ms)
    return Latency(_quantile(whole, 0.5), _quantile(whole, 0.95), None, min(good, 1.0))


def _quantile(ordered: list[tuple[float, float]], level: float) -> float:
    """Return the weighted quantile: the smallest value up to which at least ``level`` of the weight lies."""
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= level:
            return value
    return ordered[-1][0]


def load_of(option: CascadeOption, slo: Slo, alone: Latency | None = None) -> float:
    """Find the largest load at which enough requests are good, or 0.0 if there is none.

    The load is the same in both places, and at most ``MOST_LOAD``. ``alone`` has the latencies of requests
    that never wait; they are simulated if it is None.
    """

    def good(load: float) -> bool:
        return times(option, load, slo).good_share >= slo.share

    if (alone or times(option, ALONE_LOAD, slo)).good_share < slo.share:
        return 0.0
    return MOST_LOAD if good(MOST_LOAD) else highest(good, ALONE_LOAD, MOST_LOAD, HALVINGS)


def planned_cascade(option: CascadeOption, stream: Stream, slo: Slo) -> PlannedCascade:
    """Plan a cascade: find the machines of both places for the busiest hour, and their cost per month."""
    alone = times(option, ALONE_LOAD, slo)
    load = load_of(option, slo, alone)
    plan = PlannedCascade(option, load, alone)
    if not load:
        return plan
    plan = _paid(plan, stream)
    assert plan.edge is not None
    assert plan.cloud is not None
    at_edge = max(stream.rates()) * option.edge.request_s  # seconds of work per second, for all its servers
    at_cloud = at_edge * option.escalated.value / option.edge.request_s * option.cloud.request_s
    busiest = max(at_edge / _servers(plan.edge, option.edge), at_cloud / _servers(plan.cloud, option.cloud))
    return replace(
        plan,
        busiest=times(option, min(busiest, load), slo) if busiest > ALONE_LOAD else alone,
        month_bounds_usd=_bounds(plan, stream, slo),
    )


def _servers(paid: Paid, place: Place) -> float:
    return paid.fleet.most / place.share


def _paid(planned: PlannedCascade, stream: Stream) -> PlannedCascade:
    """Return the same plan with the machines and the cost for a stream."""
    option, share = planned.option, planned.option.escalated.value
    onward = replace(stream, per_day=stream.per_day * share)
    return replace(
        planned,
        edge=_place(option.edge, stream, planned.load),
        cloud=_place(option.cloud, onward, planned.load),
        egress_usd=option.egress_usd * onward.per_month,
    )


def _place(place: Place, stream: Stream, load: float) -> Paid:
    rate = load / place.request_s
    machines = fleet(rate, stream, place.machine_usd, place.share, place.reserved_usd)
    power_usd = place.busy_hour_usd * place.request_s / 3600 * stream.per_month
    kept_usd = machines.fixed_usd if machines.mixed_usd is None else machines.mixed_usd
    scaled_usd = machines.scaled_usd + power_usd if place.rented else None
    return Paid(rate, machines, kept_usd + power_usd, scaled_usd)


def _bounds(planned: PlannedCascade, stream: Stream, slo: Slo) -> tuple[float, float | None] | None:
    """Return the cost of a month at the lower and at the upper bounds, or None if the run has no bounds."""
    option, months_usd = planned.option, list[float | None]()
    ends = (option.escalated.low, option.escalated.high)
    for share, factor in zip(ends, option.slower or (1.0, 1.0), strict=True):
        if share is None:
            return None
        other = _at_bound(option, share, factor)
        load = load_of(other, slo) if slo.limits else planned.load
        at_bound = replace(planned, option=other, load=load)
        months_usd.append(_paid(at_bound, stream).month_usd if load else None)
    low, high = months_usd
    return (planned.month_usd or 0.0) if low is None else low, high


def _at_bound(option: CascadeOption, share: float, factor: float) -> CascadeOption:
    edge, cloud = (
        replace(place, request_s=place.request_s * factor) for place in (option.edge, option.cloud)
    )
    return replace(option, edge=edge, cloud=cloud, escalated=replace(option.escalated, value=share))


def cascade_at(row: PlannedCascade, stream: Stream) -> tuple[int, float] | None:
    """Return (machines of both places, US dollars per month) for another number of the same requests.

    Returns None if too few requests would be good.
    """
    if not row.load:
        return None
    plan = _paid(row, stream)
    if plan.edge is None or plan.cloud is None or plan.month_usd is None:
        return None
    return plan.edge.fleet.most + plan.cloud.fleet.most, plan.month_usd


def cascade_pays_from(row: PlannedCascade, stream: Stream, api_usd: float) -> float | None:
    """Return from how many requests per day one edge device and one cloud server cost less than an API.

    ``api_usd`` is what the API bills for a request. Returns None if they cost more even with as many requests
    as they can take.
    """
    if not row.load:
        return None
    hour_usd, each_usd = 0.0, row.option.egress_usd * row.option.escalated.value
    most = math.inf
    for place, share in ((row.option.edge, 1.0), (row.option.cloud, row.option.escalated.value)):
        machines = math.ceil(place.share - ROUNDING)
        hour_usd += machines * min(place.machine_usd, place.reserved_usd or math.inf)
        each_usd += share * place.busy_hour_usd * place.request_s / 3600
        servers = machines / place.share
        most = min(most, servers * row.load / place.request_s / share * SECONDS_PER_DAY / stream.peak)
    if api_usd <= each_usd:
        return None
    per_day = hour_usd * HOURS_PER_DAY / (api_usd - each_usd)
    return per_day if per_day <= most else None
