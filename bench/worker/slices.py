"""Let two workers decode the same batches at the same time on one processor, each timed alone.

The kernel gives the processor to one and the other for some milliseconds each, so whatever slows the machine
slows both alike, even if a request cannot be cut into turns. Each side counts its own time: without what it
waited while the other one had the processor (``own_time``). It is for sides that compute in one thread, so
each also says what was computed outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.engine import Engine
from bench.records import TurnTimes
from bench.worker.duet import Baton, Nobody, meet, times_of
from bench.worker.own_time import Elsewhere, OwnTime


def side_by_side(
    engine: Engine,
    batches: Sequence[Any],
    new_tokens: int,
    firsts: Sequence[Sequence[int]],
    me: int,
    baton: Baton,
    counts: Sequence[int] = (),
) -> TurnTimes:
    """Decode all batches beside the other worker. Both begin together and wait for each other at the end.

    ``firsts[0][0]`` says which side begins; ``counts`` how many turns a batch takes on each side, if they
    differ. Return the nanoseconds as ``duet`` does.
    """
    begins = me == firsts[0][0]
    with OwnTime(engine.programs) as clock, Elsewhere(engine.programs) as elsewhere:

        def decode(batch: Any, order: Sequence[int]) -> tuple[list[int], Any]:
            with elsewhere.counted():
                return _one_batch(engine, batch, new_tokens, counts[me] if counts else len(order), clock)

        meet(not begins, baton)  # the side that gives first goes on first
        found = times_of(engine, batches, firsts, decode)
        meet(not begins, baton)
        return replace(found, elsewhere=elsewhere.share())


def own_times(engine: Engine, batches: Sequence[Any], new_tokens: int, turns: int) -> TurnTimes:
    """Decode every batch without another worker, timed as beside one."""
    return side_by_side(engine, batches, new_tokens, [[0] * turns for _ in batches], 0, Nobody(), [turns])


def _one_batch(
    engine: Engine, batch: Any, new_tokens: int, turns: int, clock: OwnTime
) -> tuple[list[int], Any]:
    """Return the own time of each turn, and the generation."""
    took, start = [], clock.now_ns()
    generation = engine.prefill(batch, new_tokens)
    for turn in range(turns):
        if turn:
            engine.step(generation)
        engine.synchronise()
        end = clock.now_ns()
        took.append(end - start)
        start = end
    return took, generation
