"""Simulate each measured load with its own arrivals, and print measured ÷ simulated."""

from __future__ import annotations

import random
from argparse import Namespace
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from bench.plan.arrivals import Request
from bench.plan.pass_times import Slower, Steps
from bench.plan.queue_simulation import WARM_UP, simulate
from bench.plan.server_passes import ServerPasses, UsersRow, server_passes
from bench.stats.intervals import quantile

COLUMNS = ("TTFT mean", "TTFT p50", "TTFT p95", "latency mean", "latency p50", "latency p95")
WIDTH = 48  # of the first column
AIM, BLOCKS, RESAMPLES = 0.10, 20, 1000
PLACES = (None, 0.5, 0.95)  # the mean, and two quantiles
Row = Mapping[str, Any]
Pair = tuple[float, float]


def show(engine: str, parts: Sequence[str], rows: Sequence[Row], given: Namespace) -> None:
    """Print the capacity, what is known of the passes, and the lines of each load of one engine."""
    of = {row["part"]: row for row in rows}
    tokens = (given.input_tokens, given.output_tokens)
    rounds = [of[part] for part in parts if part.startswith("round ")]
    known = passes(rounds, tokens)
    measured = capacity(rounds, tokens[1])
    others = max(of[part]["noise"]["foreign_share"] for part in parts)
    print(f"\n{engine}: {measured:.3f} requests/s of the most users; others took up to {others:.1%}")
    print(f"passes: {known.words}")
    for share in dict.fromkeys(part.split()[1] for part in parts if part.startswith("load ")):
        at = [number for number, part in enumerate(parts) if part.startswith(f"load {share} ")]
        halves = [of[parts[number]]["requests"] for number in at]
        scaled = Slower(known.steps, known.checks[-1].per_s)
        around = [passes([of[parts[one - 1]], of[parts[one + 1]]], tokens).steps for one in at]
        ways: dict[str, Sequence[Steps]] = {
            "all": [known.steps] * len(at), "around": around, "to capacity": [scaled] * len(at)
        }  # fmt: skip
        rate = fmean(of[parts[number]]["rate"] for number in at) / measured
        title = f"load {share} ({rate:.2f} of the capacity of all rounds)"
        print(f"{title:{WIDTH}}" + "".join(f"{one:>20}" for one in COLUMNS))
        for name, used in ways.items():
            pairs = [beside(half, steps, tokens) for half, steps in zip(halves, used, strict=True)]
            cells = compared([[*chain(*column)] for column in zip(*pairs, strict=True)])
            print(f"  {name:{WIDTH - 2}}" + "".join(f"{cell:>20}" for cell in cells))
    print("measured ÷ simulated [95 %]; ! = more than 10 % from 1")


def passes(rounds: Sequence[Row], tokens: tuple[int, int]) -> ServerPasses:
    """Return the passes of a server from its closed loops, those with the same users taken together."""
    return server_passes(loops(rounds, tokens[1]), tokens)


def loops(rounds: Sequence[Row], n_out: int) -> list[UsersRow]:
    """Return what each number of users got, as a row of a run says it: the means over all its requests."""
    by_users: dict[int, list[Sequence[Sequence[float]]]] = {}
    for row in rounds:
        for one in row["loops"]:
            by_users.setdefault(one["users"], []).append(one["requests"])
    found = []
    for users, loads in by_users.items():
        every = [at for load in loads for at in load]
        whole_s = sum(max(at[4] for at in load) - min(at[1] for at in load) for load in loads)
        first_s = fmean(at[2] - at[1] for at in every)
        each_s = fmean((at[3] - at[2]) / (n_out - 1) for at in every)
        found.append(UsersRow(users, len(loads[0]), len(every) / whole_s, first_s, each_s))
    return found


def capacity(rounds: Sequence[Row], n_out: int) -> float:
    """Return the requests a second of the most users."""
    return max(loops(rounds, n_out), key=lambda one: one.users).per_s


def beside(
    seen: Sequence[Sequence[float]], steps: Steps, tokens: tuple[int, int]
) -> tuple[list[Pair], list[Pair]]:
    """Return (measured, simulated) of each counted request: the time to the first token, and the latency."""
    replies = simulate([Request(scheduled, *tokens) for scheduled, *_ in seen], steps).replies
    counted = seen[int(len(seen) * WARM_UP) :]
    first = [(at[2] - at[0], reply.ttft_s) for at, reply in zip(counted, replies, strict=True)]
    whole = [(at[4] - at[0], reply.last_s - at[0]) for at, reply in zip(counted, replies, strict=True)]
    return first, whole


def compared(columns: Sequence[Sequence[Pair]]) -> list[str]:
    """Return measured ÷ simulated of the mean, p50 and p95 of each column of pairs."""
    return [words(pairs, place) for pairs in columns for place in PLACES]


def words(pairs: Sequence[Pair], place: float | None) -> str:
    """Return the ratio of two quantiles, or of two means, with its bounds."""
    value, draw = ratio(pairs, place), random.Random(0)
    size = max(len(pairs) // BLOCKS, 1)
    blocks = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    drawn = sorted(
        ratio([pair for block in draw.choices(blocks, k=len(blocks)) for pair in block], place)
        for _ in range(RESAMPLES)
    )
    far = "!" if abs(value - 1) > AIM else ""
    return f"{value:.2f}{far} [{quantile(drawn, 0.025):.2f}, {quantile(drawn, 0.975):.2f}]"


def ratio(pairs: Sequence[Pair], place: float | None) -> float:
    """Return the quantile (None: the mean) of what was measured ÷ that of what was simulated."""
    measured, simulated = (
        fmean(side) if place is None else quantile(sorted(side), place) for side in zip(*pairs, strict=True)
    )
    return measured / simulated
