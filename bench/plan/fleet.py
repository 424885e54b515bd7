"""Compute how many machines a stream of requests needs to be answered in time, and what they cost.

A search over simulations finds the highest rate that one machine can take. A fleet distributes its requests
at random, so each machine receives a Poisson process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import UsageError
from bench.plan.arrivals import Request, poisson
from bench.plan.pass_times import Steps
from bench.plan.queue_simulation import WARM_UP, Reply, simulate
from bench.pricing.hardware import HOURS_PER_MONTH
from bench.stats.intervals import quantile

SIMULATED = 4800  # requests; with 1200 the rate of a strict limit moved by a third with the seed
HALVINGS = 10  # of the range of rates: the last step is 0.1 % of the capacity
NARROW_HALVINGS = 4  # of the narrow range, if the capacity of a slightly slower or faster server is known
NARROW = 3  # a server that is f times as fast is expected to take from f to f^3 times the rate
ROUNDS = 4  # how often the places of a server are filled to find its saturated rate
ALONE_LOAD = 0.001  # share of the saturated rate at which a request almost never waits for another one
MOST_LOAD = 0.8  # share of the saturated rate; above it a queue grows for longer than any simulation
LEAST_PER_DAY, MOST_PER_DAY = 0.01, 1e12
MOST_TOKENS = 10_000_000
ROUNDING = 1e-9  # keeps a rounding error from adding a machine to a fleet that is exactly large enough
SECONDS_PER_DAY, HOURS_PER_DAY = 86_400, 24


@dataclass(frozen=True)
class Slo:
    """The time limits of a good request, None for no limit, and the share of requests that must be good."""

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
        """Return whether there is any time limit."""
        return self.ttft_ms is not None or self.tpot_ms is not None

    def good(self, reply: Reply) -> bool:
        """Return whether a reply meets every limit. ``tpot_ms`` does not apply to a reply of one token."""
        first = self.ttft_ms is None or 1000 * reply.ttft_s <= self.ttft_ms
        further = reply.tpot_s
        return first and (self.tpot_ms is None or further is None or 1000 * further <= self.tpot_ms)


@dataclass(frozen=True)
class Stream:
    """The requests of a day: their number, their mean tokens, and how uneven the day is.

    ``peak`` is the rate of the busiest hour divided by the mean rate, from 1 (a flat day) to 2. Over the day
    the rate follows a cosine around its mean. Raises UsageError for numbers out of range.
    """

    per_day: float
    input_tokens: float
    output_tokens: float
    peak: float = 1.0

    def __post_init__(self) -> None:
        if not LEAST_PER_DAY <= self.per_day <= MOST_PER_DAY:
            raise UsageError(
                f"requests a day must be from {LEAST_PER_DAY:g} to {MOST_PER_DAY:g}, got {self.per_day:g}"
            )
        for tokens in (self.input_tokens, self.output_tokens):
            if not 1 <= tokens <= MOST_TOKENS:
                raise UsageError(f"tokens must be from 1 to {MOST_TOKENS:,}, got {tokens:g}")
        if not 1 <= self.peak <= 2:
            raise UsageError(f"the peak must be from 1 (a flat day) to 2 times the mean, got {self.peak:g}")

    @property
    def per_month(self) -> float:
        """Return the requests per month, which is a twelfth of a year."""
        return self.per_day * HOURS_PER_MONTH / HOURS_PER_DAY

    def rates(self) -> list[float]:
        """Return the requests per second in each of the 24 hours of the day."""
        mean, swing = self.per_day / SECONDS_PER_DAY, self.peak - 1
        return [
            mean * (1 + swing * math.cos(2 * math.pi * hour / HOURS_PER_DAY)) for hour in range(HOURS_PER_DAY)
        ]


@dataclass(frozen=True)
class Latency:
    """The simulated latencies of one machine at some rate, in milliseconds, including the waiting time."""

    ttft_p50_ms: float
    ttft_p95_ms: float
    tpot_p95_ms: float | None
    good_share: float


@dataclass(frozen=True)
class Capacity:
    """The highest ``rate`` that one machine can take, in requests per second, and its latencies at that rate.

    ``alone`` has the latencies of requests that never wait; the rate is 0 if even those are too slow.
    ``saturated`` is the rate of a machine that always has requests waiting.
    """

    rate: float
    at_rate: Latency | None
    alone: Latency
    saturated: float


@dataclass(frozen=True)
class Fleet:
    """The machines that a stream needs, and three ways to pay for them, in US dollars per month.

    ``most`` and ``least`` are the machines of the busiest and of the quietest hour. ``fixed_usd`` keeps
    ``most`` machines all the time. ``scaled_usd`` pays by the hour for what each hour needs. ``mixed_usd``
    reserves ``reserved`` machines and pays by the hour for the rest; both are None without a price for
    reserved machines. ``load`` is the mean rate divided by the rate that ``most`` machines could take.
    """

    most: int
    least: int
    fixed_usd: float
    scaled_usd: float
    reserved: int | None = None
    mixed_usd: float | None = None
    load: float = 1.0


def capacity(steps: Steps, stream: Stream, slo: Slo) -> Capacity:
    """Find the highest rate at which enough requests are good and no queue grows.

    It is searched by bisection. All simulations use the same gaps between requests, only scaled, so that
    rates differ in nothing else. The result is at most ``MOST_LOAD`` of the saturated rate, also without time
    limits.
    """
    most = saturated_rate(steps, stream)
    alone = at_rate(steps, stream, slo, most * ALONE_LOAD)
    if alone.good_share < slo.share:
        return Capacity(0.0, None, alone, most)
    low, high = ALONE_LOAD * most, MOST_LOAD * most
    at_low, at_high = alone, at_rate(steps, stream, slo, high)
    if at_high.good_share >= slo.share:
        return Capacity(high, at_high, alone, most)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        at_middle = at_rate(steps, stream, slo, middle)
        if at_middle.good_share >= slo.share:
            low, at_low = middle, at_middle
        else:
            high = middle
    return Capacity(low, at_low, alone, most)


def capacity_near(steps: Steps, stream: Stream, slo: Slo, near: Capacity, speed: float) -> float:
    """Return the highest rate of a server whose passes are ``speed`` times as fast as those of ``near``.

    Without time limits its rate is ``speed`` times as high. With them it changes more, because slower passes
    also leave less time for waiting. So it is searched near the known rate, and then in the whole range.
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
    """Find the highest good value between ``low``, which is good, and ``high``, which is not."""
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return low


def saturated_rate(steps: Steps, stream: Stream) -> float:
    """Return the requests per second of a machine that always has requests waiting."""
    count = max(SIMULATED, ROUNDS * steps.most)
    requests = [Request(0.0, *whole_tokens(stream)) for _ in range(count)]
    done_s = sorted(reply.last_s for reply in simulate(requests, steps).replies)
    skipped = int(WARM_UP * count)
    counted = done_s[skipped : len(done_s) - skipped]
    return (len(counted) - 1) / (counted[-1] - counted[0])


def at_rate(steps: Steps, stream: Stream, slo: Slo, rate: float) -> Latency:
    """Return the simulated latencies of one machine that receives ``rate`` requests per second."""
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
    """Return the machines for a stream if one server takes ``rate`` requests per second.

    A server occupies ``share`` of a machine; above 1 it occupies several. A machine costs ``machine_usd`` per
    hour, or ``reserved_usd`` for every hour of the month if it is reserved. The number of reserved machines
    is the one that makes the month cheapest. Raises UsageError if ``rate`` is not above 0.
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
    """Round up (or ``down``) to at least 1; a number that is whole up to ``ROUNDING`` counts as whole."""
    return max(math.floor(number + ROUNDING) if down else math.ceil(number - ROUNDING), 1)


def whole_tokens(stream: Stream) -> tuple[int, int]:
    """Return the input and output tokens of a simulated request: the rounded means, at least 1 each."""
    return max(round(stream.input_tokens), 1), max(round(stream.output_tokens), 1)
