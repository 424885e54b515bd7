"""Translate the options of `bench load` into a workload, as a config has it.

The options have the same names as the keys of a workload, so an error about a key is reported as an error
about the option.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

from bench import plugins
from bench.cli.load_options import Asking
from bench.config.amounts import MOST_SAMPLES, MOST_SERVED, PER_ANSWERED_TOKEN
from bench.config.settings import WorkloadBlock
from bench.errors import UsageError
from bench.serving.arrivals import MOST_REQUESTS, Planned
from bench.serving.lengths import lengths
from bench.serving.search_run import MOST_REQUESTS as MOST_SEARCHED

USUAL_REQUESTS = 64
PEOPLE = ("data-set", "multi-turn")  # workloads with the prompts or conversations of people
OWN_LENGTHS = ("trace", *PEOPLE)  # workloads that define the length of each request
OPTIONS = {"file": "--data-set"}  # keys whose option has another name
MOST_ANSWERED = MOST_SAMPLES // PER_ANSWERED_TOKEN  # tokens of all replies of a load


def drawn(asking: Asking, count: int, seed: int) -> tuple[tuple[int, int], ...]:
    """Draw (input tokens, output tokens) of ``count`` requests from the distributions in the options."""
    prompts = lengths(asking.input_tokens, count, seed, "input")
    replies = lengths(asking.output_tokens, count, seed, "output")
    return tuple(zip(prompts, replies, strict=True))


def workload_of(asking: Asking, seed: int) -> WorkloadBlock:
    """Return the workload of a load. It is not validated here, because the options were checked already."""
    ((n_in, n_out),) = drawn(asking, 1, seed)
    name, own = _kind(asking)
    given: dict[str, Any] = {"input_tokens": n_in, "output_tokens": n_out, "file": None}
    if asking.trace is not None:
        given["file"] = str(asking.trace)
    if asking.data_set is not None:
        given["file"] = str(asking.data_set)
    given["requests"] = _requests(asking)
    return WorkloadBlock.model_construct(name=name, own=tuple(own.items()), **given)


def _kind(asking: Asking) -> tuple[str, dict[str, object]]:
    """Return (name of the workload, the keys that only this workload has)."""
    if asking.search is not None:
        return "search", {}
    if asking.trace is not None:
        return "trace", {"speed": asking.speed}
    if asking.data_set is not None:
        when: dict[str, object] = {"rate": asking.rate} if asking.users is None else {"users": asking.users}
        return "data-set", {
            **when, "max_input_tokens": asking.max_input_tokens, "replies": asking.replies,
        }  # fmt: skip
    if asking.turns is not None:
        return "multi-turn", {
            "users": asking.users, "turns": asking.turns, "shared_tokens": asking.shared_tokens,
            "pause_s": asking.pause_s,
        }  # fmt: skip
    if asking.users is not None:
        return "closed-loop", {"users": asking.users}
    if asking.at_once:
        return "offline", {}
    if asking.arrivals == "constant":
        return "open-loop", {"rate": asking.rate, "arrivals": "constant"}
    if asking.burstiness != 1:
        return "open-loop", {"rate": asking.rate, "arrivals": "gamma", "burstiness": asking.burstiness}
    return "open-loop", {"rate": asking.rate}


def _requests(asking: Asking) -> int:
    """Return how many requests are sent. The default is rounded up to whole conversations."""
    if asking.requests is not None:
        return asking.requests
    if asking.trace is not None:
        return MOST_REQUESTS
    turns = max(asking.turns or 1, 1)
    return -(-USUAL_REQUESTS // turns) * turns


def plan_of(asking: Asking, workload: WorkloadBlock, seed: int) -> Planned:
    """Return the plan of a load: when its requests come, and how long each is."""
    planned: Planned = _module(workload).plan(workload, seed)
    return planned if workload.name in OWN_LENGTHS else with_lengths(asking, planned, seed)


def plan_at(asking: Asking, workload: WorkloadBlock, rate: float, requests: int, seed: int) -> Planned:
    """Return the plan for one attempt of a search, at ``rate`` requests per second."""
    return with_lengths(asking, _module(workload).plan_at(workload, rate, requests, seed), seed)


def with_lengths(asking: Asking, plan: Planned, seed: int) -> Planned:
    """Return the plan with a length drawn for each request."""
    return replace(plan, lengths=drawn(asking, plan.schedule.requests, seed))


def title(asking: Asking, workload: WorkloadBlock, seed: int) -> str:
    """Say in words when the requests come.

    Raises UsageError, which names the option, for a load that cannot be planned. This is called before
    anything is started.
    """
    if asking.search is not None:
        return f"search for the highest rate at which {asking.search:.1%} of the requests are good"
    if workload.name not in PEOPLE:
        planned = plan_of(asking, workload, seed)
        schedule = planned.schedule
        if asking.requests is not None and schedule.requests < asking.requests:
            raise UsageError(f"--requests {asking.requests}: {asking.trace} holds {schedule.requests}")
        _must_be_kept(planned.lengths)
        return str(schedule.title)
    kind = _module(workload)
    with _errors_name_options(workload):
        if problem := kind.problem(workload):
            key, why = problem
            raise UsageError(f"{_option(key)}: {why}")
        _must_be_kept(plan_of(asking, workload, seed).lengths)
        return str(kind.words(workload))


def most_searched(asking: Asking, seed: int) -> int:
    """Return the most requests of one load of a search: a journal keeps every time of one of them."""
    tokens = sum(n_out for _, n_out in drawn(asking, MOST_SEARCHED, seed))
    return min(MOST_SEARCHED, MOST_SEARCHED * MOST_ANSWERED // tokens)


def _must_be_kept(lengths: Sequence[tuple[int, int]]) -> None:
    """Raise UsageError for requests of which a journal cannot keep every time, before any is sent."""
    tokens = sum(n_out for _, n_out in lengths)
    if len(lengths) > MOST_SERVED or tokens > MOST_ANSWERED:
        raise UsageError(
            f"{len(lengths):,} requests with up to {tokens:,} output tokens are more than the journal of a "
            f"load holds ({MOST_SERVED:,} and {MOST_ANSWERED:,}): send fewer, or ask for shorter replies"
        )


@contextmanager
def _errors_name_options(workload: WorkloadBlock) -> Iterator[None]:
    """Turn an error about a key of the workload into an error about the option."""
    try:
        yield
    except UsageError as bad:
        key, between, why = str(bad).partition(" ")
        if key not in ("requests", *dict(workload.own)):
            raise
        raise UsageError(f"{_option(key)}{between}{why}") from None


def _option(key: str) -> str:
    return OPTIONS.get(key, f"--{key.replace('_', '-')}")


def _module(workload: WorkloadBlock) -> ModuleType:
    return plugins.load("workloads", workload.name)
