"""For servers: the highest rate at which most requests meet the limits (slo), and the load at that rate."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.settings import WorkloadBlock
from bench.serving.arrivals import Planned, poisson
from bench.workloads import _loads

LOAD = True
NEEDS_SLO = True
USES = ("name", "input_tokens", "output_tokens", "warmup")  # the confidence decides how many requests
problem = _loads.needs_a_length


@dataclass(frozen=True)
class Params:
    """``share``: of the requests that must be good. ``rate``: requests a second, where the search begins."""

    share: float = 0.9
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.share <= 0.99:
            raise ValueError("share must be from 0.5 to 0.99")
        if not 0 < self.rate <= 100_000:
            raise ValueError("rate must be above 0 and at most 100000")


def plan_at(workload: WorkloadBlock, rate: float, requests: int, seed: int) -> Planned:
    """Return when ``requests`` come at ``rate``, and how long they are."""
    return Planned(poisson(rate, requests, seed), _loads.lengths(workload, requests))


def words(workload: WorkloadBlock) -> str:
    """Say it for people."""
    share = float(str(dict(workload.own)["share"]))
    return f"search for the highest rate at which {share:.1%} are good, {_loads.sizes(workload)}"
