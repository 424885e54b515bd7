"""The machines of both places of a cascade for a stream of requests, and what each place costs a month.

Every request comes to the edge, and the share that goes on to the cloud. Requests are dealt out at random, so
each server of either place sees a Poisson process of its own; its queue is simulated with a constant time of
work. No token is shown before the answer is complete, so the time to the first token is that of the answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
from bench.plan.queue import poisson, simulate

EDGE_SEED, CLOUD_SEED = 0, 1  # the two places do not see the same gaps


@dataclass(frozen=True)
class WholeAnswers:
    """The passes of a server that gives each answer as a whole, in ``request_s`` seconds."""

    request_s: float
    most: int = 1
    chunk: int | None = None

    def seconds(
        self, decoding: int, context: float, prompt: int, pairs: float | None = None, before: float = 0.0
    ) -> float:
        """Return the time of the answer in the pass that reads the prompt; there is no other pass."""
        return self.request_s if prompt else 0.0


@dataclass(frozen=True)
class Paid:
    """What one place needs and costs: the requests a second that one server takes, the machines, and the
    dollars of a month with its power. ``scaled_usd`` pays by the hour, None for machines that are owned."""

    rate: float
    fleet: Fleet
    month_usd: float
    scaled_usd: float | None


@dataclass(frozen=True)
class PlannedCascade:
    """A cascade with what both places need; None if not even requests that never wait are good.

    ``load`` is the share of the time in which every server works in the busiest hour at most. ``alone`` are
    the times of requests that never wait, ``busiest`` those of the busiest hour. ``egress_usd`` is paid in a
    month for the bytes that leave the cloud. ``month_bounds_usd`` are the dollars of a month at the lower,
    and at the upper, bounds of both the escalation rate and the seconds of work; the upper one is None if
    enough requests would then never be good.
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
        """Return the dollars of a month: both places and the egress."""
        if self.edge is None or self.cloud is None:
            return None
        return self.edge.month_usd + self.cloud.month_usd + self.egress_usd

    @property
    def scaled_usd(self) -> float | None:
        """Return the same if the cloud is paid by the hour; the edge devices stay where they are."""
        if self.edge is None or self.cloud is None or self.cloud.scaled_usd is None:
            return None
        return self.edge.month_usd + self.cloud.scaled_usd + self.egress_usd

    def request_usd(self, stream: Stream) -> float | None:
        """Return the dollars of one request, over a month of 365 / 12 days."""
        return None if self.month_usd is None else self.month_usd / stream.per_month


def times(option: CascadeOption, load: float, slo: Slo) -> Latency:
    """Return the times of whole requests if every server of both places works ``load`` of the time."""
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
    stayed = [(1000 * one, (1 - share) / len(edge)) for one in edge]
    went = [
        (1000 * (one + option.link_s + other), share / len(edge))
        for one, other in zip(edge, cloud, strict=True)
    ]
    whole = sorted(stayed + went)
    good = math.fsum(weight for ms, weight in whole if slo.ttft_ms is None or ms <= slo.ttft_ms)
    return Latency(_quantile(whole, 0.5), _quantile(whole, 0.95), None, min(good, 1.0))


def _quantile(ordered: list[tuple[float, float]], level: float) -> float:
    """Return the smallest value below or at which ``level`` of the weights lie."""
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= level:
            return value
    return ordered[-1][0]


def load_of(option: CascadeOption, slo: Slo, alone: Latency | None = None) -> float:
    """Return the largest load of both places at which enough requests are good; 0.0 if there is none.

    It is the same in both places, and at most ``MOST_LOAD``. ``alone`` are the times of requests that never
    wait; without them they are simulated.
    """

    def good(load: float) -> bool:
        return times(option, load, slo).good_share >= slo.share

    if (alone or times(option, ALONE_LOAD, slo)).good_share < slo.share:
        return 0.0
    return MOST_LOAD if good(MOST_LOAD) else highest(good, ALONE_LOAD, MOST_LOAD, HALVINGS)


def planned_cascade(option: CascadeOption, stream: Stream, slo: Slo) -> PlannedCascade:
    """Return the machines of both places, as many as the busiest hour needs, and their dollars a month."""
    alone = times(option, ALONE_LOAD, slo)
    load = load_of(option, slo, alone)
    found = PlannedCascade(option, load, alone)
    if not load:
        return found
    found = _paid(found, stream)
    assert found.edge is not None
    assert found.cloud is not None
    most = max(stream.rates()) * option.edge.request_s
    onward = most * option.escalated.value / option.edge.request_s * option.cloud.request_s
    busiest = max(most / _servers(found.edge, option.edge), onward / _servers(found.cloud, option.cloud))
    return replace(
        found,
        busiest=times(option, min(busiest, load), slo) if busiest > ALONE_LOAD else alone,
        month_bounds_usd=_bounds(found, stream, slo),
    )


def _servers(paid: Paid, place: Place) -> float:
    return paid.fleet.most / place.share


def _paid(planned: PlannedCascade, stream: Stream) -> PlannedCascade:
    """Return the same with the machines and the dollars of another number of requests."""
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
    """Return the dollars of a month at both ends; None if nothing has bounds."""
    option, found = planned.option, list[float | None]()
    ends = (option.escalated.low, option.escalated.high)
    for share, factor in zip(ends, option.slower or (1.0, 1.0), strict=True):
        if share is None:
            return None
        other = _at_bound(option, share, factor)
        load = load_of(other, slo) if slo.limits else planned.load
        at_bound = replace(planned, option=other, load=load)
        found.append(_paid(at_bound, stream).month_usd if load else None)
    low, high = found
    return (planned.month_usd or 0.0) if low is None else low, high


def _at_bound(option: CascadeOption, share: float, factor: float) -> CascadeOption:
    edge, cloud = (
        replace(place, request_s=place.request_s * factor) for place in (option.edge, option.cloud)
    )
    return replace(option, edge=edge, cloud=cloud, escalated=replace(option.escalated, value=share))


def cascade_at(row: PlannedCascade, stream: Stream) -> tuple[int, float] | None:
    """Return (machines of both places, dollars a month) for another number of requests of the same kind; None
    if too few are good."""
    if not row.load:
        return None
    found = _paid(row, stream)
    if found.edge is None or found.cloud is None or found.month_usd is None:
        return None
    return found.edge.fleet.most + found.cloud.fleet.most, found.month_usd


def cascade_pays_from(row: PlannedCascade, stream: Stream, api_usd: float) -> float | None:
    """Return the requests a day from which one edge device and one cloud server cost less than an API that
    bills ``api_usd`` for each; None if they do not, even with as many requests as they can take."""
    if not row.load:
        return None
    hour_usd, each_usd = 0.0, row.option.egress_usd * row.option.escalated.value
    most = math.inf
    for place, share in ((row.option.edge, 1.0), (row.option.cloud, row.option.escalated.value)):
        machines = math.ceil(place.share - ROUNDING)
        hour_usd += machines * place.machine_usd
        each_usd += share * place.busy_hour_usd * place.request_s / 3600
        servers = machines / place.share
        most = min(most, servers * row.load / place.request_s / share * SECONDS_PER_DAY / stream.peak)
    if api_usd <= each_usd:
        return None
    found = hour_usd * HOURS_PER_DAY / (api_usd - each_usd)
    return found if found <= most else None
