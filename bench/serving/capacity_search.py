"""Find the highest rate at which a server still keeps its limits, by bisection over measured loads.

A rate holds if MLPerf's early-stopping rule says so (``bench/stats/early_stopping.py``): that ``share`` of
all requests are good, with 99 % confidence. A load that is invalid says nothing, and ends the search.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError
from bench.metrics.requests import Limits
from bench.serving.load import Load
from bench.stats.early_stopping import cannot_hold, least_requests, within

Found = Literal["holds", "fails", "too few requests to say", "invalid"]
TOLERANCE = 0.05
MOST_STEPS = 20
LONGEST_S = 86_400.0  # of one load: a server that never keeps its limits would be asked ever more slowly
Try = Callable[[float, int], Awaitable[Load]]


@dataclass(frozen=True)
class Step:
    """One rate that was tried: requests, how many of them were not good, and what follows."""

    rate: float
    requests: int
    bad: int
    found: Found
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Capacity:
    """The highest rate that held (None if none did), the lowest that did not, and all steps.

    ``why`` says what the answer is worth: where it ends, or why it ended early.
    """

    holds: float | None
    fails: float | None
    share: float
    steps: tuple[Step, ...]
    why: str


def judge(load: Load, limits: Limits, share: float) -> Step:
    """Say whether a load shows that ``share`` of its requests are good; the caller fills in the rate."""
    bad, n = sum(not limits.good(one) for one in load.samples), len(load.samples)
    found: Found
    if load.invalid:
        found = "invalid"
    elif within(share, bad, n):
        found = "holds"
    elif cannot_hold(share, bad, n):
        found = "fails"
    else:
        found = "too few requests to say"
    return Step(0.0, n, bad, found, load.invalid)


async def highest_rate(
    attempt: Try, limits: Limits, share: float, start: float, most_requests: int = 5000
) -> Capacity:
    """Search from ``start`` requests/s: double while it holds, halve while it does not, then bisect to 5 %.

    ``attempt`` measures a load of so many requests at a rate. A load that cannot decide is measured again
    with twice the requests, up to ``most_requests``, and counts as one that fails after that. Raises
    UsageError if there is no limit, or if ``most_requests`` cannot show ``share``.
    """
    if not limits.most_ms or not 0 < share < 1 or not start > 0:
        raise UsageError("a search needs a limit, a share between 0 and 1 and a rate to start from")
    fewest = least_requests(share, 0)
    if most_requests < fewest:
        raise UsageError(f"to show {share:.1%} at least {fewest} requests are needed, got {most_requests}")
    if fewest / start > LONGEST_S:
        raise UsageError(
            f"{fewest} requests at {start:g} a second take more than a day: begin with a higher rate"
        )
    steps: list[Step] = []
    low: float | None = None
    high: float | None = None
    rate = start
    while len(steps) < MOST_STEPS:
        decided = await _decided(attempt, limits, share, rate, most_requests, steps)
        if decided is None:
            return Capacity(low, high, share, tuple(steps), "; ".join(steps[-1].reasons))
        low, high = (rate, high) if decided else (low, rate)
        if low is not None and high is not None and high - low <= TOLERANCE * low:
            return Capacity(low, high, share, tuple(steps), f"found to {TOLERANCE:.0%}")
        rate = 2 * low if low and high is None else high / 2 if high and low is None else _middle(low, high)
        if fewest / rate > LONGEST_S:
            why = f"no rate below {high:g} requests/s was tried: its load would take more than a day"
            return Capacity(low, high, share, tuple(steps), why)
    return Capacity(low, high, share, tuple(steps), f"not found to {TOLERANCE:.0%} in {MOST_STEPS} loads")


def _middle(low: float | None, high: float | None) -> float:
    assert low is not None
    assert high is not None
    return (low + high) / 2


async def _decided(
    attempt: Try, limits: Limits, share: float, rate: float, most: int, steps: list[Step]
) -> bool | None:
    """Measure at ``rate`` until it is decided; None if a load was invalid."""
    requests = min(least_requests(share, 2), most)
    while True:
        found = judge(await attempt(rate, requests), limits, share)
        steps.append(Step(rate, found.requests, found.bad, found.found, found.reasons))
        if found.found == "invalid":
            return None
        if found.found != "too few requests to say" or requests >= most:
            return found.found == "holds"
        requests = min(2 * requests, most)
