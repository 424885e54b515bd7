"""For servers: all requests at the start."""

from __future__ import annotations

from bench.config.settings import WorkloadBlock
from bench.formatting import count
from bench.serving.arrivals import Planned, at_once
from bench.workloads import _loads

LOAD = True
USES = _loads.USES
problem = _loads.needs_a_length


def plan(workload: WorkloadBlock, _seed: int) -> Planned:
    """Return when requests come, and how long they are."""
    return Planned(at_once(workload.requests), _loads.lengths(workload))


def words(workload: WorkloadBlock) -> str:
    """Say it for people."""
    return f"all at once, {count(workload.requests, 'request')}, {_loads.sizes(workload)}"
