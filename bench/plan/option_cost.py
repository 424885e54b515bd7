"""Plan one option for a stream of requests: its machines, and their cost per month with the run's bounds."""

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
from bench.plan.pass_times import Slower


@dataclass(frozen=True)
class Planned:
    """An option with the capacity of one server, and with the machines for the whole stream.

    All fields after ``capacity`` are None if no server answers in time. ``month_usd`` is the cost of a month
    if the machines of the busiest hour are kept, or if some are reserved and the rest is rented.
    ``scaled_usd`` is the cost if each hour is paid by its machines; it is None for owned machines. Both
    include the power of the work. ``busiest`` has the latencies in the busiest hour. ``month_bounds_usd`` has
    the cost of a month if every pass takes as long as the 95 % bounds of the run say; the upper bound is None
    if no server would then answer in time.
    """

    option: Option
    capacity: Capacity
    fleet: Fleet | None
    month_usd: float | None = None
    scaled_usd: float | None = None
    busiest: Latency | None = None
    month_bounds_usd: tuple[float, float | None] | None = None

    def request_usd(self, stream: Stream) -> float | None:
        """Return the US dollars per request, over a month of 365 / 12 days."""
        return None if self.month_usd is None else self.month_usd / stream.per_month


def pays_from(row: Planned, stream: Stream, api_usd: float) -> float | None:
    """Return from how many requests per day one server of this option costs less than an API.

    ``api_usd`` is what the API bills for a request. Returns None if the server costs more even with as many
    requests as it can take. Whole machines are paid for the whole month, however few requests come. Above the
    capacity of the first server the same calculation holds for the next one.
    """
    option, rate = row.option, row.capacity.rate
    if not rate:
        return None
    machines = math.ceil(option.share - ROUNDING)
    hour_usd = machines * min(option.machine_usd, option.reserved_usd or math.inf)
    each_usd = _power_usd(option, stream, row.capacity.saturated) / stream.per_month
    most = machines / option.share * rate * SECONDS_PER_DAY / stream.peak
    if api_usd <= each_usd:
        return None
    per_day = hour_usd * HOURS_PER_DAY / (api_usd - each_usd)
    return per_day if per_day <= most else None


def month_at(row: Planned, stream: Stream) -> tuple[int, float] | None:
    """Return (machines, US dollars per month) of an option for another number of the same requests.

    The capacity of a server does not depend on the number of requests, so nothing is simulated again. Returns
    None if no request is answered in time.
    """
    if not row.capacity.rate:
        return None
    machines, usd = _month(row.option, stream, row.capacity.rate, row.capacity.saturated)
    return machines.most, usd


class HasMonth(Protocol):
    """A planned option: its US dollars per month, or None if it does not answer in time."""

    @property
    def month_usd(self) -> float | None: ...


AnyPlan = TypeVar("AnyPlan", bound=HasMonth)


def cheapest(rows: Sequence[AnyPlan]) -> AnyPlan | None:
    """Return the option with the cheapest month, or None if no option answers in time."""
    answering = [row for row in rows if row.month_usd is not None]
    return min(answering, key=lambda row: row.month_usd or 0.0, default=None)


def planned(option: Option, stream: Stream, slo: Slo) -> Planned:
    """Plan an option: find the machines for the busiest hour, and compute their cost per month."""
    limit = capacity(option.steps, stream, slo)
    if not limit.rate:
        return Planned(option, limit, None)
    machines, kept_usd = _month(option, stream, limit.rate, limit.saturated)
    servers = machines.most / option.share
    busiest = at_rate(option.steps, stream, slo, min(max(stream.rates()) / servers, limit.rate))
    scaled_usd = None
    if option.rented:
        scaled_usd = machines.scaled_usd + _power_usd(option, stream, limit.saturated)
    bounds = None
    if option.slower is not None:
        low, high = (_month_if(option, stream, slo, limit, factor) for factor in option.slower)
        bounds = (kept_usd if low is None else low, high)
    return Planned(option, limit, machines, kept_usd, scaled_usd, busiest, bounds)


def _month(option: Option, stream: Stream, rate: float, saturated: float) -> tuple[Fleet, float]:
    """Return (the machines, US dollars per month with power) if one server takes ``rate``."""
    machines = fleet(rate, stream, option.machine_usd, option.share, option.reserved_usd)
    kept_usd = machines.fixed_usd if machines.mixed_usd is None else machines.mixed_usd
    return machines, kept_usd + _power_usd(option, stream, saturated)


def _power_usd(option: Option, stream: Stream, saturated: float) -> float:
    """Return the US dollars per month for the power of the work, if power is billed separately."""
    return option.busy_hour_usd / 3600 / saturated * stream.per_month


def _month_if(option: Option, stream: Stream, slo: Slo, known: Capacity, factor: float) -> float | None:
    """Return the US dollars per month if every pass took ``factor`` times as long.

    ``known`` is the capacity at the measured speed. Returns None if too few requests would be good.
    """
    rate = capacity_near(Slower(option.steps, factor), stream, slo, known, 1 / factor)
    return _month(option, stream, rate, known.saturated / factor)[1] if rate else None
