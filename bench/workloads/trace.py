"""For servers: the arrivals and lengths of a trace, a JSON-lines file (ours, Mooncake's, BurstGPT's)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.bounded import state_of
from bench.config.settings import WorkloadBlock
from bench.formatting import count
from bench.serving.arrivals import Planned
from bench.serving.traces import read_trace
from bench.workloads import _loads

LOAD = True
USES = ("name", "requests", "file", "warmup")


@dataclass(frozen=True)
class Params:
    """``speed``: how many times as fast as it was recorded."""

    speed: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 1e6:
            raise ValueError("speed must be above 0 and at most a million")


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None; the whole file is read to find a bad line at once."""
    if workload.file is None:
        return "file", "the workload 'trace' needs the path of a JSON-lines file"
    found = plan(workload, 0).schedule.requests
    if found < workload.requests:
        return "requests", f"{workload.requests} requests asked for, and {workload.file} holds {found}"
    return None


def plan(workload: WorkloadBlock, _seed: int) -> Planned:
    """Return when requests come, and how long they are: the first ``requests`` of the trace."""
    file, speed = Path(str(workload.file)), _loads.asked(Params, workload).speed
    return _read(file, state_of(file), workload.requests, speed)


@lru_cache(maxsize=2)
def _read(file: Path, _state: tuple[int, int] | None, requests: int, speed: float) -> Planned:
    """Read a trace once, although every row of a config asks for it."""
    return read_trace(file, requests, speed)


def words(workload: WorkloadBlock) -> str:
    """Say it for people."""
    return f"trace {Path(str(workload.file)).name}, {count(workload.requests, 'request')}"
