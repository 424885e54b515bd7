"""Run a search for the highest rate, and keep the load at that rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

from bench.metrics.requests import Limits
from bench.records.json_form import Json
from bench.records.samples import Sample
from bench.serving.arrivals import Planned
from bench.serving.capacity_search import Capacity, highest_rate
from bench.serving.load import INTERRUPTED, Load, Progress, load
from bench.serving.prompts import Prompts
from bench.serving.target import Target

PlanAt = Callable[[float, int, int], Planned]  # rate, requests, number of the attempt
MOST_REQUESTS = 5000  # of one load
Seen = Callable[[float, int], Progress | None]  # rate, requests


@dataclass(frozen=True)
class Searched:
    """The load at the highest rate that held (the last load if none did), and how it was found. ``tried`` are
    the requests of all loads."""

    load: Load
    capacity: Capacity
    tried: tuple[Sample, ...] = ()

    def to_json(self) -> Json:
        """Return the search as it stands in a journal."""
        return {**vars(self.capacity), "steps": [vars(step) for step in self.capacity.steps]}


async def searched(
    target: Target, plan: PlanAt, limits: Limits, share: float, start: float, prompts: Prompts,
    seen: Seen = lambda _rate, _requests: None, most_requests: int = MOST_REQUESTS,
) -> Searched:  # fmt: skip
    """Search from ``start`` requests/s for the highest rate at which ``share`` of the requests are good.

    If it is cancelled after its first load, it ends there, and its load says that it was interrupted: the
    highest rate that held until then need not be the highest.
    """
    tried: list[Load] = []

    async def attempt(rate: float, requests: int) -> Load:
        one = plan(rate, requests, len(tried))
        try:
            asked = await prompts.of(one.lengths)
        except asyncio.CancelledError:
            if not tried:
                raise
            tried.append(Load((), tried[-1].client, INTERRUPTED))
            return tried[-1]
        tried.append(await load(target.settings, one.schedule, asked, seen(rate, requests), target.gone))
        return tried[-1]

    found = await highest_rate(attempt, limits, share, start, most_requests)
    best = [at for at, step in enumerate(found.steps) if step.found == "holds" and step.rate == found.holds]
    chosen = tried[best[-1]] if best else next((one for one in reversed(tried) if one.samples), tried[-1])
    interrupted = tried[-1].stopped == INTERRUPTED
    everything = tuple(chain.from_iterable(one.samples for one in tried))
    return Searched(replace(chosen, stopped=INTERRUPTED) if interrupted else chosen, found, everything)
