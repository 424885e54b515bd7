"""Choose the processors that the two workers of a pair may use while they are timed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bench.machine.cores import halves
from bench.measure.arm import ArmUnderTest


@contextmanager
def pinned(
    base: ArmUnderTest, variant: ArmUnderTest, *, swapped: bool = False, share: bool = False
) -> Iterator[None]:
    """Give both workers their processors while they are timed.

    Two with a single thread share one processor, which gave the least noise in measurements
    (docs/decisions/0002); so do all that ``share`` one at the same time. Two on a GPU get half of the cores
    each, so that neither wakes up where the other has been; ``swapped`` says which half. All others keep what
    they have.
    """
    everywhere = sorted(os.sched_getaffinity(0))
    places = _places(base, variant, everywhere, share)
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


def _places(
    base: ArmUnderTest, variant: ArmUnderTest, everywhere: list[int], share: bool
) -> tuple[list[int], ...]:
    """Return the processors of each side; nothing if they stay as they are."""
    if base.known.on_gpu and variant.known.on_gpu:
        parted = halves(everywhere)
        return parted if all(parted) else ()
    return (everywhere[-1:], everywhere[-1:]) if share or one_thread_each(base, variant) else ()


def one_thread_each(base: ArmUnderTest, variant: ArmUnderTest) -> bool:
    """Return whether both sides are set to compute in a single thread on the processor."""
    return base.known.threads == variant.known.threads == 1 and not variant.known.on_gpu
