"""The machines of an option for a stream of requests, and their dollars a month with the run's bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bench.plan.fleet import (
    HOURS_PER_DAY,
    ROUNDING,
    SECONDS_PER_DAY,
    Capacity,
    Fleet,
    Latency,
    Slo,
    Stream,
    at_rate,
    capacity,
    capacity_near,
    fleet,
)
from bench.plan.options import Option
from bench.plan.steps import Slower


@dataclass(frozen=True)
class Planned:
    """An option with what one server of it takes, and the machines for the whole stream; None if no server
    answers in time.

    ``month_usd`` keeps the machines of the busiest hour, or has reserved ones and rents the rest.
    ``scaled_usd`` pays each hour for its machines; None for machines that are owned. Both have the power of
    the work. ``busiest`` are the times in the busiest hour. ``month_bounds_usd`` are the dollars of a month
    if every pass takes as long as the bounds of the run say; the upper one is None if no server would answer
    in time.
    """

    option: Option
    capacity: Capacity
    fleet: Fleet | None
    month_usd: float | None = None
    scaled_usd: float | None = None
    busiest: Latency | None = None
    month_bounds_usd: tuple[float, float | None] | None = None

    def request_usd(self, stream: Stream) -> float | None:
        """Return the dollars of one request, over a month of 365 / 12 days."""
        return None if self.month_usd is None else self.month_usd / stream.per_month


def pays_from(row: Planned, stream: Stream, api_usd: float) -> float | None:
    """Return the requests a day from which a server of this option costs less than an API that bills
    ``api_usd`` for each; None if it does not, even with as many as it can take.

    Whole machines are paid all month, however few requests come. A further machine is needed above what the
    first takes, and pays from the same number on again.
    """
    option, rate = row.option, row.capacity.rate
    if not rate:
        return None
    machines = math.ceil(option.share - ROUNDING)
    hour_usd = machines * option.machine_usd
    each_usd = _power_usd(option, stream, row.capacity.saturated) / stream.per_month
    most = machines / option.share * rate * SECONDS_PER_DAY / stream.peak
    if api_usd <= each_usd:
        return None
    found = hour_usd * HOURS_PER_DAY / (api_usd - each_usd)
    return found if found <= most else None


def month_at(row: Planned, stream: Stream) -> tuple[int, float] | None:
    """Return (machines, dollars a month) of an option for another number of requests of the same kind; None
    if none is answered in time. What one server takes does not depend on how many requests there are."""
    if not row.capacity.rate:
        return None
    machines, usd = _month(row.option, stream, row.capacity.rate, row.capacity.saturated)
    return machines.most, usd


class HasMonth(Protocol):
    """What was planned: the dollars of its month, None if it does not answer in time."""

    @property
    def month_usd(self) -> float | None: ...


Found = TypeVar("Found", bound=HasMonth)


def cheapest(rows: Sequence[Found]) -> Found | None:
    """Return the option with the cheapest month; None if none answers in time."""
    answering = [row for row in rows if row.month_usd is not None]
    return min(answering, key=lambda row: row.month_usd or 0.0, default=None)


def planned(option: Option, stream: Stream, slo: Slo) -> Planned:
    """Return the machines of an option, as many as the busiest hour needs, and their dollars a month."""
    found = capacity(option.steps, stream, slo)
    if not found.rate:
        return Planned(option, found, None)
    machines, kept_usd = _month(option, stream, found.rate, found.saturated)
    servers = machines.most / option.share
    busiest = at_rate(option.steps, stream, slo, min(max(stream.rates()) / servers, found.rate))
    scaled_usd = None
    if option.rented:
        scaled_usd = machines.scaled_usd + _power_usd(option, stream, found.saturated)
    bounds = None
    if option.slower is not None:
        low, high = (_month_if(option, stream, slo, found, factor) for factor in option.slower)
        bounds = (kept_usd if low is None else low, high)
    return Planned(option, found, machines, kept_usd, scaled_usd, busiest, bounds)


def _month(option: Option, stream: Stream, rate: float, saturated: float) -> tuple[Fleet, float]:
    """Return the machines, and the dollars of a month with power, if one server takes ``rate``."""
    machines = fleet(rate, stream, option.machine_usd, option.share, option.reserved_usd)
    kept_usd = machines.fixed_usd if machines.mixed_usd is None else machines.mixed_usd
    return machines, kept_usd + _power_usd(option, stream, saturated)


def _power_usd(option: Option, stream: Stream, saturated: float) -> float:
    """Return the dollars of a month's work for power that is billed apart."""
    return option.busy_hour_usd / 3600 / saturated * stream.per_month


def _month_if(option: Option, stream: Stream, slo: Slo, found: Capacity, factor: float) -> float | None:
    """Return the dollars of a month if every pass took ``factor`` times as long; None if none were good."""
    rate = capacity_near(Slower(option.steps, factor), stream, slo, found, 1 / factor)
    return _month(option, stream, rate, found.saturated / factor)[1] if rate else None
