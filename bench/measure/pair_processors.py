"""Choose the processors that the two workers of a pair may use while they take turns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.machine.cores import halves
from bench.measure.arm import ArmUnderTest


@contextmanager
def pinned(base: ArmUnderTest, variant: ArmUnderTest, *, swapped: bool = False) -> Iterator[None]:
    """Give both workers their processors while they take turns.

    Two with a single thread share one processor, which gave the least noise in measurements
    (docs/decisions/0002). Two on a GPU get half of the cores each, so that neither wakes up where the other
    has been; ``swapped`` says which half. All others keep what they have.
    """
    everywhere = sorted(os.sched_getaffinity(0))
    places = _places(base, variant, everywhere)
    if not places:
        yield
        return
    sides = (variant, base) if swapped else (base, variant)
    for side, processors in zip(sides, places, strict=True):
        side.worker.pin(processors)
    try:
        yield
    finally:
        for side in sides:
            side.worker.pin(everywhere)


def _places(base: ArmUnderTest, variant: ArmUnderTest, everywhere: list[int]) -> tuple[list[int], ...]:
    """Return the processors of each side; nothing if they stay as they are."""
    if base.known.on_gpu and variant.known.on_gpu:
        parted = halves(everywhere)
        return parted if all(parted) else ()
    return (everywhere[-1:], everywhere[-1:]) if one_thread_each(base, variant) else ()


def one_thread_each(base: ArmUnderTest, variant: ArmUnderTest) -> bool:
    """Return whether both sides compute in a single thread on the processor."""
    on_gpu = base.known.on_gpu or variant.known.on_gpu
    return base.known.threads == variant.known.threads == 1 and not on_gpu
