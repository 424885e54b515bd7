"""Say what the workers of a pair are asked: with which request they warm up, and which ones are timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import plugins
from bench.config.encoders import runs_own_code
from bench.config.spec import Arm
from bench.measure.designs import batches_of


@dataclass(frozen=True)
class Asked:
    """The numbers of the batch that a pair warms up with (``first``) and of those that it times. ``again``
    says that a process has been asked each of the timed ones before."""

    first: int
    timed: list[int]
    again: bool = False


def asked_of(number: int, each: int, base: Arm, variant: Arm) -> Asked:
    """Return what pair ``number`` (from 1) asks, with ``each`` batches timed.

    Own code may keep its answers. So it is not asked in one process what it has answered there already: it
    warms up with the request after the timed ones, of which there are fewer if the workload has no more. Only
    a workload of equal requests leaves no other choice. Prompts that occur more than once in a workload are
    the user's, and are timed as they come.
    """
    available = max(-(-arm.workload.requests // arm.workload.batch_size) for arm in (base, variant))
    if not (runs_own_code(base.runtime) or runs_own_code(variant.runtime)):
        return Asked(0, batches_of(number, each, available))
    timed = batches_of(number, min(each, available - 1) or each, available)
    first = (timed[-1] + 1) % available
    return Asked(first, timed, any(_again(_batches(arm), first, timed) for arm in (base, variant)))


def _batches(arm: Arm) -> list[tuple[Any, ...]]:
    prompts, size = prompts_of(arm), arm.workload.batch_size
    return [tuple(prompts[start : start + size]) for start in range(0, len(prompts), size)]


def _again(batches: Sequence[tuple[Any, ...]], first: int, timed: Sequence[int]) -> bool:
    """Return whether each timed batch has the prompts of one that was asked before it."""
    asked = [batches[number % len(batches)] for number in (first, *timed)]
    return all(batch in asked[:place] for place, batch in enumerate(asked) if place)


def prompts_of(arm: Arm) -> Sequence[Any]:
    """Return the requests of the arm's workload."""
    found: Sequence[Any] = plugins.load("workloads", arm.workload.name).prompts(arm.workload)
    return found
