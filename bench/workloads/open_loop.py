"""For servers: requests that come at a rate, whether or not the server keeps up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.config.settings import WorkloadBlock
from bench.serving.arrivals import Planned, constant, gamma, poisson
from bench.workloads import _loads

LOAD = True
USES = _loads.USES
MOST_RATE = 100_000


@dataclass(frozen=True)
class Params:
    """``rate``: requests a second. ``arrivals``: how their distances are drawn. ``burstiness`` is the shape
    of gamma distances: 1 is Poisson, below 1 there are bursts."""

    rate: float
    arrivals: Literal["poisson", "gamma", "constant"] = "poisson"
    burstiness: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rate <= MOST_RATE:
            raise ValueError(f"rate must be above 0 and at most {MOST_RATE}")
        if (self.arrivals == "gamma") != (self.burstiness is not None):
            raise ValueError("arrivals: gamma needs burstiness, and nothing else has it")
        if self.burstiness is not None and not 0 < self.burstiness <= 1000:
            raise ValueError("burstiness must be above 0 and at most 1000")


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None."""
    slow = _loads.too_slow(_loads.asked(Params, workload).rate, workload.requests)
    return _loads.needs_a_length(workload) or slow


def plan(workload: WorkloadBlock, seed: int) -> Planned:
    """Return when requests come, and how long they are; ``seed`` decides the times."""
    asked, n = _loads.asked(Params, workload), workload.requests
    if asked.arrivals == "constant":
        schedule = constant(asked.rate, n)
    elif asked.burstiness is not None:
        schedule = gamma(asked.rate, asked.burstiness, n, seed)
    else:
        schedule = poisson(asked.rate, n, seed)
    return Planned(schedule, _loads.lengths(workload))


def words(workload: WorkloadBlock) -> str:
    """Say it for people."""
    return f"{plan(workload, 0).schedule.title}, {_loads.sizes(workload)}"
