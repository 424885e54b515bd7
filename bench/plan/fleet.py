"""How many machines a stream of requests needs so that enough are answered in time, and what they cost.

The highest rate that one machine can take is searched for by simulation. The requests of a fleet are dealt
out at random, so that each machine sees a Poisson process of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import UsageError
from bench.plan.queue import WARM_UP, Reply, Request, poisson, simulate
from bench.plan.steps import Steps
from bench.pricing.break_even import HOURS_PER_MONTH
from bench.stats.intervals import quantile

SIMULATED = 1200  # requests of a simulation: 662 are the fewest that can show 99 % (MLPerf's rule)
HALVINGS = 10  # of the range of rates: the last step is 0.1 % of the capacity
NARROW_HALVINGS = 4  # where the capacity of a server that is a little slower or faster is known
NARROW = 3  # a server that is f times as fast takes f to f^3 times the rate, else the whole range is searched
ROUNDS = 4  # times the places of a server that are filled to find its saturated rate
ALONE_LOAD = 0.001  # of the saturated rate: a request hardly ever meets another one
MOST_LOAD = 0.8  # of the saturated rate: near saturation a queue grows for longer than any simulation
MOST_PER_DAY = 1e12
MOST_TOKENS = 10_000_000
ROUNDING = 1e-9  # a fleet that is exactly large enough is large enough
SECONDS_PER_DAY = 86_400
HOURS_PER_DAY = 24


@dataclass(frozen=True)
class Slo:
    """What a good request is: the most milliseconds to the first token and for each further one, and the
    share of requests that must be good. None is no limit."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    share: float = 0.99

    def __post_init__(self) -> None:
        for limit in (self.ttft_ms, self.tpot_ms):
            if limit is not None and not 0 < limit < math.inf:
                raise UsageError(f"a limit of time must be above 0 ms, got {limit:g}")
        if not 0 < self.share < 1:
            raise UsageError(f"the share of good requests must be above 0 and below 1, got {self.share:g}")

    @property
    def limits(self) -> bool:
        """Return whether there is any limit of time."""
        return self.ttft_ms is not None or self.tpot_ms is not None

    def good(self, reply: Reply) -> bool:
        """Return whether a reply meets every limit; a reply of one token has no time per further token."""
        first = self.ttft_ms is None or 1000 * reply.ttft_s <= self.ttft_ms
        further = reply.tpot_s
        return first and (self.tpot_ms is None or further is None or 1000 * further <= self.tpot_ms)


@dataclass(frozen=True)
class Stream:
    """The requests of a day: how many, their mean tokens, and the busiest hour's rate divided by the mean.

    Over the day the rate follows a cosine around its mean.
    """

    per_day: float
    input_tokens: float
    output_tokens: float
    peak: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.per_day <= MOST_PER_DAY:
            raise UsageError(
                f"requests a day must be above 0 and at most {MOST_PER_DAY:g}, got {self.per_day:g}"
            )
        for tokens in (self.input_tokens, self.output_tokens):
            if not 1 <= tokens <= MOST_TOKENS:
                raise UsageError(f"tokens must be from 1 to {MOST_TOKENS:,}, got {tokens:g}")
        if not 1 <= self.peak <= 2:
            raise UsageError(f"the peak must be from 1 (a flat day) to 2 times the mean, got {self.peak:g}")

    @property
    def per_month(self) -> float:
        """Return the requests of a month, a twelfth of a year."""
        return self.per_day * HOURS_PER_MONTH / HOURS_PER_DAY

    def rates(self) -> list[float]:
        """Return the requests a second of each hour of the day."""
        mean, swing = self.per_day / SECONDS_PER_DAY, self.peak - 1
        return [
            mean * (1 + swing * math.cos(2 * math.pi * hour / HOURS_PER_DAY)) for hour in range(HOURS_PER_DAY)
        ]


@dataclass(frozen=True)
class Latency:
    """The simulated times of one machine at a rate, in milliseconds, waiting included."""

    ttft_p50_ms: float
    ttft_p95_ms: float
    tpot_p95_ms: float | None
    good_share: float


@dataclass(frozen=True)
class Capacity:
    """What one machine can take: its rate in requests a second, and its times at that rate.

    ``alone`` are the times of a request that never waits. If even that one is not good, the rate is 0.
    ``saturated`` is the rate of a machine that always has requests waiting.
    """

    rate: float
    at_rate: Latency | None
    alone: Latency
    saturated: float


@dataclass(frozen=True)
class Fleet:
    """The machines of a day and their dollars in a month.

    ``most`` and ``least`` are the machines of the busiest and the quietest hour. ``fixed_usd`` keeps the most
    all the time, ``scaled_usd`` pays by the hour for what each hour needs, and ``mixed_usd`` reserves
    ``reserved`` machines and pays by the hour for the rest; None without a price for reserved machines.
    ``load`` is the mean share of the rate of the busiest hour's machines that is used.
    """

    most: int
    least: int
    fixed_usd: float
    scaled_usd: float
    reserved: int | None = None
    mixed_usd: float | None = None
    load: float = 1.0


def capacity(steps: Steps, stream: Stream, slo: Slo) -> Capacity:
    """Return the highest rate at which the share of good requests is reached, and no queue grows.

    It is found by halving a range; every simulation has the same gaps but for their scale. With limits of
    time or without, it is at most ``MOST_LOAD`` of the saturated rate.
    """
    most = saturated_rate(steps, stream)
    alone = at_rate(steps, stream, slo, most * ALONE_LOAD)
    if alone.good_share < slo.share:
        return Capacity(0.0, None, alone, most)
    low, high = ALONE_LOAD * most, MOST_LOAD * most
    found, top = alone, at_rate(steps, stream, slo, high)
    if top.good_share >= slo.share:
        return Capacity(high, top, alone, most)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        seen = at_rate(steps, stream, slo, middle)
        if seen.good_share >= slo.share:
            low, found = middle, seen
        else:
            high = middle
    return Capacity(low, found, alone, most)


def capacity_near(steps: Steps, stream: Stream, slo: Slo, near: Capacity, speed: float) -> float:
    """Return the highest rate of a server whose passes are ``speed`` times as fast as those of ``near``.

    Without limits of time it is that much higher. With them it also changes because less of the limit is
    left for waiting, so it is searched for beside the known one.
    """
    if not slo.limits or not near.rate:
        return near.rate * speed
    most = MOST_LOAD * near.saturated * speed
    low, high = sorted((near.rate * speed, near.rate * speed**NARROW))
    low, high = min(low, most), min(high, most)

    def good(rate: float) -> bool:
        return at_rate(steps, stream, slo, rate).good_share >= slo.share

    if good(high):
        return high if high == most else capacity(steps, stream, slo).rate
    if not good(low):
        return capacity(steps, stream, slo).rate
    return highest(good, low, high, NARROW_HALVINGS)


def highest(good: Callable[[float], bool], low: float, high: float, halvings: int) -> float:
    """Return the highest value that is found to be good between ``low``, which is, and ``high``, which is
    not: half of the range is left out each time."""
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return low


def saturated_rate(steps: Steps, stream: Stream) -> float:
    """Return the requests a second of a machine that always has more of them waiting."""
    count = max(SIMULATED, ROUNDS * steps.most)
    requests = [Request(0.0, *whole_tokens(stream)) for _ in range(count)]
    done_s = sorted(reply.last_s for reply in simulate(requests, steps).replies)
    skipped = int(WARM_UP * count)
    counted = done_s[skipped : len(done_s) - skipped]
    return (len(counted) - 1) / (counted[-1] - counted[0])


def at_rate(steps: Steps, stream: Stream, slo: Slo, rate: float) -> Latency:
    """Return the times of one machine whose requests come at ``rate`` a second."""
    replies = simulate(poisson(rate, SIMULATED, *whole_tokens(stream)), steps).replies
    first = sorted(1000 * reply.ttft_s for reply in replies)
    further = sorted(1000 * reply.tpot_s for reply in replies if reply.tpot_s is not None)
    good = sum(map(slo.good, replies)) / len(replies)
    return Latency(
        quantile(first, 0.5), quantile(first, 0.95), quantile(further, 0.95) if further else None, good
    )


def fleet(
    rate: float, stream: Stream, machine_usd: float, share: float = 1.0, reserved_usd: float | None = None
) -> Fleet:
    """Return the machines for a stream if one server takes ``rate`` requests a second.

    A server is ``share`` of a machine, or several machines if it is above 1. A machine costs ``machine_usd``
    an hour, and ``reserved_usd`` if it is reserved, which is paid for every hour of the month. As many are
    reserved as make the month cheapest.
    """
    if not rate > 0:
        raise UsageError("no machine answers a request in time, however many there are")
    needed = [_whole(_whole(hourly / rate) * share) for hourly in stream.rates()]
    days = HOURS_PER_MONTH / HOURS_PER_DAY
    most = max(needed)
    load = stream.per_day / SECONDS_PER_DAY / (_whole(most / share, down=True) * rate)
    fixed_usd, scaled_usd = most * machine_usd * HOURS_PER_MONTH, sum(needed) * machine_usd * days
    if reserved_usd is None:
        return Fleet(most, min(needed), fixed_usd, scaled_usd, load=load)

    def month_usd(reserved: int) -> float:
        burst = sum(max(count - reserved, 0) for count in needed)
        return reserved * reserved_usd * HOURS_PER_MONTH + burst * machine_usd * days

    best = min({0, *needed}, key=month_usd)
    return Fleet(most, min(needed), fixed_usd, scaled_usd, best, month_usd(best), load)


def _whole(number: float, *, down: bool = False) -> int:
    """Return how many whole ones are needed, at least one; what is exactly enough is enough."""
    return max(math.floor(number + ROUNDING) if down else math.ceil(number - ROUNDING), 1)


def whole_tokens(stream: Stream) -> tuple[int, int]:
    """Return the tokens in and out of a simulated request: the means, rounded, at least one each."""
    return max(round(stream.input_tokens), 1), max(round(stream.output_tokens), 1)
