"""Two workers take turns, step by step, without the harness in between.

Both get the same schedule and one end of a socket pair, the *baton*. A worker runs its own turns and then
passes the baton by sending one byte. While the other worker runs, it blocks in ``recv``, so it neither spins
nor polls. The parent sleeps until both are done.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any

from bench.engine import Engine
from bench.records import TurnTimes
from bench.worker.passes import undisturbed


class PeerGone(Exception):
    """The other worker died during a duet."""


class Baton:
    """The right to run, passed as one byte over a socket between the two workers."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def give(self) -> None:
        """Let the other worker continue."""
        try:
            self._channel.sendall(b"x")
        except (BrokenPipeError, ConnectionResetError) as gone:
            raise PeerGone from gone

    def wait(self) -> None:
        """Block until the other worker gives the baton."""
        try:
            byte = self._channel.recv(1)
        except ConnectionResetError as gone:
            raise PeerGone from gone
        if not byte:
            raise PeerGone


def duet(
    engine: Engine,
    batches: Sequence[Any],
    new_tokens: int,
    firsts: Sequence[Sequence[int]],
    me: int,
    baton: Baton,
    grain: int = 1,
    counts: Sequence[int] = (),
) -> TurnTimes:
    """Decode every batch in turns with the other worker.

    ``firsts[b][k]`` says which side (0 baseline, 1 variant) goes first in turn ``k`` of batch ``b``; turn 0
    is the prefill. With ``grain`` above 1 a side takes that many turns in a row. With
    ``counts``, the turns that a batch takes on each side, whole batches take turns. Returns this side's
    nanoseconds: one list per batch, one entry per turn.
    """
    durations: list[tuple[int, ...]] = []
    written: list[int] = []
    for batch, order in zip(batches, firsts, strict=True):
        turns = whole(order[0], counts) if counts else schedule(order, grain)
        with undisturbed():
            _meet(me == 1, baton)
            took, generation = _one_batch(engine, batch, new_tokens, turns, me, baton)
            durations.append(tuple(took))
        if engine.WHOLE_ANSWERS:
            written.append(sum(map(len, engine.tokens(generation))))
    return TurnTimes(tuple(durations), tuple(written))


def schedule(order: Sequence[int], grain: int) -> list[int]:
    """List the side that runs in each turn. In every block of ``grain`` turns the first side takes all its
    turns before the other side."""
    return [
        side
        for start in range(0, len(order), grain)
        for side in (order[start], 1 - order[start])
        for _ in order[start : start + grain]
    ]


def whole(first: int, counts: Sequence[int]) -> list[int]:
    """List the side that runs in each turn if sides take turns batch by batch, because their batches have
    different numbers of turns (``counts``)."""
    return [side for side in (first, 1 - first) for _ in range(counts[side])]


def _one_batch(
    engine: Engine, batch: Any, new_tokens: int, turns: Sequence[int], me: int, baton: Baton
) -> tuple[list[int], Any]:
    """Return the times of this side's turns, and its generation."""
    took: list[int] = []
    generation: Any = None
    holder = turns[0]
    for position, side in enumerate(turns):
        if side != me:
            continue
        if holder != me or (position and turns[position - 1] != me):
            baton.wait()
        start = perf_counter_ns()
        if generation is None:
            generation = engine.prefill(batch, new_tokens)
        else:
            engine.step(generation)
        engine.synchronise()
        took.append(perf_counter_ns() - start)
        holder = me
        if position + 1 < len(turns) and turns[position + 1] != me:
            baton.give()
    _meet(turns[-1] == me, baton)
    return took, generation


def _meet(last: bool, baton: Baton) -> None:
    """Make both sides begin and end a batch together: neither cleans up in the other's timed step."""
    if last:
        baton.give()
        baton.wait()
    else:
        baton.wait()
        baton.give()
