"""For servers: users who each send the next request when the last answer is complete."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.settings import WorkloadBlock
from bench.serving.arrivals import ClosedLoop, Planned
from bench.workloads import _loads

LOAD = True
USES = _loads.USES
problem = _loads.needs_a_length


@dataclass(frozen=True)
class Params:
    """``users``: how many wait for answers at the same time."""

    users: int

    def __post_init__(self) -> None:
        if not 1 <= self.users <= 8192:
            raise ValueError("users must be from 1 to 8192")


def plan(workload: WorkloadBlock, _seed: int) -> Planned:
    """Return when requests come, and how long they are."""
    users = _loads.asked(Params, workload).users
    return Planned(ClosedLoop(users, workload.requests), _loads.lengths(workload))


def words(workload: WorkloadBlock) -> str:
    """Say it for people."""
    return f"{plan(workload, 0).schedule.title}, {_loads.sizes(workload)}"
