"""Simulate each measured load with its own arrivals, and print measured ÷ simulated."""

from __future__ import annotations

import random
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.plan.fleet import Stream, saturated_rate
from bench.plan.pass_times import MeasuredSteps, Slower, Steps, measured_steps
from bench.plan.queue_simulation import WARM_UP, Request, simulate
from bench.stats.intervals import quantile

CHUNK = 2048  # tokens of a pass: the default of vLLM, and llama.cpp's n_batch
COLUMNS = ("TTFT p50", "TTFT p95", "latency p50", "latency p95")
AIM, BLOCKS, RESAMPLES = 0.10, 20, 1000
QUANTILES = (0.5, 0.95)
Row = Mapping[str, Any]


def show(engine: str, parts: Sequence[str], rows: Sequence[Row], given: Namespace) -> None:
    """Print the capacity and a pair of lines for each load of one engine."""
    of = {row["part"]: row for row in rows}
    tokens = (given.input_tokens, given.output_tokens)
    capacity, stream = of["capacity"]["requests_per_s"], Stream(1.0, *tokens)
    others = of["capacity"]["noise"]["foreign_share"]
    print(f"\n{engine}: {capacity:.3f} requests/s when saturated; others took {others:.1%} of the machine")
    print(f"{'load':>5} {'passes':12}" + "".join(f"{title:>20}" for title in COLUMNS) + "  capacity")
    for number, part in enumerate(parts):
        if part.startswith("load "):
            steps = between(of[parts[number - 1]], of[parts[number + 1]])
            scaled = Slower(steps, saturated_rate(steps, stream) / capacity)
            ways = {"together": steps, "apart": replace(steps, chunk=None), "to capacity": scaled}
            for name, used in ways.items():
                cells = "".join(f"{cell:>20}" for cell in compared(of[part]["requests"], used, tokens))
                rate = saturated_rate(used, stream) / capacity
                print(f"{part.removeprefix('load '):>5} {name:12}{cells}  {rate:.3f}")
    print("measured ÷ simulated [95 %]; ! = more than 10 % from 1; capacity: simulated ÷ measured")


def between(before: Row, after: Row) -> MeasuredSteps:
    """Return the passes of a load: the mean of those measured before and after it."""
    points = [
        (size, (a + b) / 2) for (size, a), (_, b) in zip(before["steps_s"], after["steps_s"], strict=True)
    ]
    found = measured_steps(points, (before["prompt_token_s"] + after["prompt_token_s"]) / 2)
    return replace(found, chunk=CHUNK)


def compared(seen: Sequence[Sequence[float]], steps: Steps, tokens: tuple[int, int]) -> list[str]:
    """Return measured ÷ simulated of p50 and p95 of the time to the first token, then of the latency."""
    asked = [Request(scheduled, *tokens) for scheduled, *_ in seen]
    replies = simulate(asked, steps).replies
    counted = seen[int(len(seen) * WARM_UP) :]
    first = [(at[2] - at[0], reply.ttft_s) for at, reply in zip(counted, replies, strict=True)]
    whole = [(at[4] - at[0], reply.last_s - at[0]) for at, reply in zip(counted, replies, strict=True)]
    return [words(pairs, place) for pairs in (first, whole) for place in QUANTILES]


def words(pairs: Sequence[tuple[float, float]], place: float) -> str:
    """Return the ratio of two quantiles with its bounds."""
    value, draw = ratio(pairs, place), random.Random(0)
    size = max(len(pairs) // BLOCKS, 1)
    blocks = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    drawn = sorted(
        ratio([pair for block in draw.choices(blocks, k=len(blocks)) for pair in block], place)
        for _ in range(RESAMPLES)
    )
    far = "!" if abs(value - 1) > AIM else ""
    return f"{value:.2f}{far} [{quantile(drawn, 0.025):.2f}, {quantile(drawn, 0.975):.2f}]"


def ratio(pairs: Sequence[tuple[float, float]], place: float) -> float:
    """Return the quantile of what was measured ÷ that of what was simulated."""
    measured, simulated = (quantile(sorted(side), place) for side in zip(*pairs, strict=True))
    return measured / simulated
