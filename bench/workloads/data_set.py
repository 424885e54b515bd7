"""For servers: prompts that people wrote, from a data set (ShareGPT, messages of a chat API, or prompts)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

from bench.bounded import why
from bench.config.settings import WorkloadBlock
from bench.serving.arrivals import ClosedLoop, Planned, Spoken, poisson
from bench.serving.datasets import entries
from bench.workloads import _loads
from bench.workloads.open_loop import MOST_RATE

LOAD = True
USES = ("name", "requests", "file", "output_tokens", "warmup")
MOST_KEPT = 50_000  # entries; a run that asks for more begins again with the first
MOST_LETTERS = 400_000_000  # of all entries together, which are kept in memory


@dataclass(frozen=True)
class Params:
    """``users`` of a closed loop, or ``rate`` of an open one (Poisson, requests a second).
    ``max_input_tokens``: longer prompts are passed over. ``replies``: as long as the ``recorded`` answers,
    with ``output_tokens`` as the most, or all of ``output_tokens`` (``equal``)."""

    users: int | None = None
    rate: float | None = None
    max_input_tokens: int = 1024
    replies: Literal["recorded", "equal"] = "recorded"

    def __post_init__(self) -> None:
        if (self.users is None) == (self.rate is None):
            raise ValueError("give either users (a closed loop) or rate (an open one)")
        if self.users is not None and not 1 <= self.users <= 8192:
            raise ValueError("users must be from 1 to 8192")
        if self.rate is not None and not 0 < self.rate <= MOST_RATE:
            raise ValueError(f"rate must be above 0 and at most {MOST_RATE}")
        if not 1 <= self.max_input_tokens <= 1_000_000:
            raise ValueError("max_input_tokens must be from 1 to 1,000,000")


def problem(workload: WorkloadBlock) -> tuple[str, str] | None:
    """Return (key, what is wrong with it), or None; the file is read to find a bad entry at once."""
    if workload.file is None:
        return "file", "the workload 'data-set' needs the path of a file"
    try:
        found = _read(workload.file, Path(workload.file).stat().st_mtime_ns)
    except OSError as bad:
        return "file", f"{workload.file!r} {why(bad)}"
    except ValueError as bad:
        return "file", str(bad)
    if len(found) < min(workload.requests, MOST_KEPT):
        wanted = f"{workload.requests} requests asked for"
        return "requests", f"{wanted}, and {workload.file} holds {len(found)} prompts"
    asked = _asked(workload)
    if asked.rate is not None and (slow := _loads.too_slow(asked.rate, workload.requests)):
        return slow
    if asked.replies == "recorded" and all(answer is None for _prompt, answer in found):
        return "replies", f"{workload.file} has no answers; write replies: equal"
    return None


def plan(workload: WorkloadBlock, seed: int) -> Planned:
    """Return when requests come, and their prompts; ``seed`` decides the times."""
    asked, file, most = _asked(workload), str(workload.file), workload.output_tokens
    found = _read(file, Path(file).stat().st_mtime_ns)
    if asked.replies == "equal":
        found = tuple((prompt, None) for prompt, _answer in found)
    rate, users, n = asked.rate, asked.users, workload.requests
    schedule = poisson(rate, n, seed) if rate is not None else ClosedLoop(users or 1, n)
    longest = ((asked.max_input_tokens, most),) * n
    return Planned(schedule, longest, spoken=Spoken(found, asked.max_input_tokens, most))


def words(workload: WorkloadBlock) -> str:
    """Say it for people."""
    asked = _asked(workload)
    replies = "as recorded, at most " if asked.replies == "recorded" else ""
    lengths = f"at most {asked.max_input_tokens} tokens in, {replies}{workload.output_tokens} out"
    return f"{plan(workload, 0).schedule.title}, prompts of {Path(str(workload.file)).name}, {lengths}"


@lru_cache(maxsize=4)
def _read(file: str, _changed_ns: int) -> tuple[tuple[str, str | None], ...]:
    found: list[tuple[str, str | None]] = []
    letters = 0
    for one in islice(entries(Path(file)), MOST_KEPT):
        letters += len(one.prompt) + len(one.answer or "")
        if letters > MOST_LETTERS:
            raise ValueError(f"{file}: more than {MOST_LETTERS} characters in {len(found) + 1} entries")
        found.append((one.prompt, one.answer))
    return tuple(found)


def _asked(workload: WorkloadBlock) -> Params:
    return _loads.asked(Params, workload)
