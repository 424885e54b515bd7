"""For servers: users in conversations, in which every turn begins with all that was said before it."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.settings import WorkloadBlock
from bench.serving.arrivals import ClosedLoop, Lengths, Planned, Sharing
from bench.workloads import _loads

LOAD = True
USES = _loads.USES
MOST_TURNS = 100


@dataclass(frozen=True)
class Params:
    """``users``: how many talk at the same time. ``turns``: requests of a conversation. ``shared_tokens``:
    with how many tokens every conversation begins, as with a system prompt. ``pause_s``: seconds between an
    answer and the next turn."""

    users: int
    turns: int = 3
    shared_tokens: int = 0
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.users <= 8192:
            raise ValueError("users must be from 1 to 8192")
        if not 1 <= self.turns <= MOST_TURNS:
            raise ValueError(f"turns must be from 1 to {MOST_TURNS}")
        if not 0 <= self.shared_tokens <= 1_000_000:
            raise ValueError("shared_tokens must be from 0 to 1,000,000")
        if not 0 <= self.pause_s <= 600:
            raise ValueError("pause_s must be from 0 to 600")


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None."""
    turns = _asked(workload).turns
    if workload.requests % turns:
        return "requests", f"{workload.requests} requests are no whole conversations of {turns} turns"
    return _loads.needs_a_length(workload)


def plan(workload: WorkloadBlock, _seed: int) -> Planned:
    """Return when requests come, and how long they are: ``input_tokens`` are new in each turn."""
    asked = _asked(workload)
    new, out = int(workload.input_tokens or 1), workload.output_tokens
    talk: Lengths = tuple(
        (asked.shared_tokens + (turn + 1) * new + turn * out, out) for turn in range(asked.turns)
    )
    schedule = ClosedLoop(asked.users, workload.requests, asked.turns, asked.pause_s)
    lengths = talk * (workload.requests // asked.turns)
    return Planned(schedule, lengths, Sharing(asked.shared_tokens, asked.turns))


def words(workload: WorkloadBlock) -> str:
    """Say it for people."""
    shared = f", {_asked(workload).shared_tokens} shared by all" if _asked(workload).shared_tokens else ""
    return f"{plan(workload, 0).schedule.title}, {_loads.sizes(workload)} a turn{shared}"


def _asked(workload: WorkloadBlock) -> Params:
    return _loads.asked(Params, workload)
