"""Decide how the two sides of a pair share the machine while timed, by the name in ``measure.design``.

* ``steps``: two processes take turns token by token. What slows the machine slows both sides alike.
* ``requests``: two processes take turns request by request. A GPU's step is a thousand launches by one
  thread, and its rhythm is lost if a partner comes between any two tokens.
* ``slices``: two processes of one thread decode at the same time on one processor, and each counts only its
  own time. It has the least noise by far, but each side works while the other one empties its caches.
* ``abba``: the processes run one after the other, in the order A B, B A, and so on. One model is in memory
  at a time, and nothing that the partner does can be felt; what changes between processes can.

See docs/decisions/0020 and 0026 for what is known of each.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from bench.config.settings import WorkloadBlock
from bench.config.spec import Arm
from bench.errors import Outcome, VariantFailed
from bench.machine.devices import cpu_count
from bench.measure.together import BaselineDied
from bench.records import Facts
from bench.stats.pairs import Kernels

STEPS, REQUESTS, SLICES, ABBA = "steps", "requests", "slices", "abba"
WAKE_STEPS = 4  # untimed, before each request: the partner's has cooled the processor's caches and clock
MOST_ELSEWHERE = 0.01  # such work is timed with what it waits while the other side has the processor
OUTSIDE = "its requests compute outside their thread, so the sides take turns"  # why a unit is void
DEADLINE = "its answers do less work while the sides share a processor, so the sides take turns"
LEAST_TO_SPIN = 4  # processors: one for each worker, and some for everything else
LEAST_BATCHES_ON_GPU = 12  # a pair decodes so many, more than once each if the workload has fewer


def chosen(wanted: str, *, on_gpu: bool, alike: bool = False, may_share: bool = True) -> str:
    """Return the design of a pair: the one that the config names, or for ``auto`` that of the device. Sides
    that hardly differ (``alike``: those of a gate, and rows that run their baseline's kernels) decode beside
    each other on a CPU. Sides that may not share a processor take turns instead."""
    in_turns = REQUESTS if on_gpu else STEPS
    if wanted == "auto":
        wanted = SLICES if alike else in_turns
    return in_turns if wanted == SLICES and (on_gpu or not may_share) else wanted


def kernels(arm: Arm, facts: Facts | None = None) -> Kernels:
    """Return what decides which kernels ``arm`` runs, as far as its config and ``facts`` say."""
    packed_by = facts.quantised_checkpoint if facts else None
    return Kernels(arm.runtime, packed_by, [step.label for step in arm.optimise])


def orders(seed: str, number: int, *, mirrored: bool) -> Iterator[int]:
    """Yield without end who goes first in what comes next of pair ``number`` (from 1): 0 for the baseline, 1
    for the variant.

    Each is a coin. With ``mirrored`` every second pair has the other side of all coins of the pair before it,
    so that a row with one batch does not begin with the same side in most of its pairs. Units of a gate are
    drawn without this: their test needs a coin in each unit, whatever is known of the units before it.
    """
    turned = mirrored and number % 2 == 0
    coins = random.Random(f"{seed}/{number - turned}")
    while True:
        yield coins.randrange(2) ^ turned


def can_share(elsewhere: Sequence[float | None]) -> bool:
    """Return whether sides of one thread each can decode beside each other: the kernel counts what a thread
    waits, and hardly anything is computed outside that thread (``elsewhere``, one share for each side)."""
    return all(share is not None and share <= MOST_ELSEWHERE for share in elsewhere)


def why_void(design: str, elsewhere: Sequence[float | None]) -> str:
    """Say why a unit is void whose sides should not have shared a processor; '' if they could."""
    return OUTSIDE if design == SLICES and not can_share(elsewhere) else ""


def may_not_share(void: str) -> bool:
    """Return whether a pair is void for a reason that keeps its sides from sharing a processor again."""
    return void in (OUTSIDE, DEADLINE)


def how(design: str, *, on_gpu: bool) -> dict[str, object]:
    """Return the arguments by which workers are told of ``slices`` and of a GPU: how to wait, and how to
    begin a request."""
    if not on_gpu:
        return {"slices": True} if design == SLICES else {}
    wake = 0 if design == STEPS else WAKE_STEPS
    return {"spins": cpu_count() >= LEAST_TO_SPIN, "wake": wake}


def too_large_together(failed: VariantFailed | BaselineDied) -> bool:
    """Return whether a side ran out of the GPU's memory, which it may not do alone."""
    failure = failed.failure if isinstance(failed, BaselineDied) else failed
    return failure.outcome == Outcome.OOM_GPU


def batches_of(number: int, each: int, available: int) -> list[int]:
    """Return the ``each`` batches that pair ``number`` (from 1) decodes. Pairs rotate through the batches, so
    that every request is decoded equally often."""
    start = (number - 1) * each
    return [(start + i) % available for i in range(each)]


def shape(load: WorkloadBlock) -> tuple[int, int, int]:
    """Return what decides how the batches of two workloads take turns; their prompts may differ."""
    return load.requests, load.batch_size, load.output_tokens


def requests_in(load: WorkloadBlock, batches: Sequence[int]) -> int:
    """Return how many requests these batches hold. Their numbers go on counting after the last batch, which
    may be smaller than the others."""
    size = load.batch_size
    available = -(-load.requests // size)
    return sum(min(size, load.requests - n % available * size) for n in batches)
