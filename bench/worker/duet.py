"""Let two workers take turns, step by step or request by request, without the harness in between.

Both get the same schedule and one end of a socket pair, the *baton*. A worker runs its own turns and then
passes the baton by sending one byte. On a CPU the other worker blocks in ``recv`` meanwhile; it does not spin
or poll, because it would take the processor that the first one needs. On a GPU the processors are free and a
step is a thousand launches, so there a waiting worker keeps its processor awake. The parent sleeps until both
are done.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter_ns
from typing import Any

from bench.engine import Engine
from bench.records import Cascaded, TurnTimes
from bench.records.determinism import fingerprint
from bench.worker.passes import undisturbed


class PeerGone(Exception):
    """The other worker died during a duet."""


class Baton:
    """The right to run, passed as one byte over a socket between the two workers.

    With ``spins`` a waiting worker asks again and again, because a processor that has slept for the length of
    a turn is slow at first.
    """

    def __init__(self, channel: socket.socket, *, spins: bool = False) -> None:
        self._channel, self._spins = channel, spins

    def give(self) -> None:
        """Let the other worker continue."""
        try:
            self._channel.sendall(b"x")
        except (BrokenPipeError, ConnectionResetError) as gone:
            raise PeerGone from gone

    def wait(self) -> None:
        """Block until the other worker gives the baton."""
        try:
            byte = self._spin() if self._spins else self._channel.recv(1)
        except ConnectionResetError as gone:
            raise PeerGone from gone
        if not byte:
            raise PeerGone

    def _spin(self) -> bytes:
        while True:
            with suppress(BlockingIOError):
                return self._channel.recv(1, socket.MSG_DONTWAIT)


def duet(
    engine: Engine,
    batches: Sequence[Any],
    new_tokens: int,
    firsts: Sequence[Sequence[int]],
    me: int,
    baton: Baton,
    grain: int = 1,
    counts: Sequence[int] = (),
    wake: int = 0,
) -> TurnTimes:
    """Decode every batch in turns with the other worker.

    ``firsts[b][k]`` says which side (0 baseline, 1 variant) goes first in turn ``k`` of batch ``b``; turn 0
    is the prefill. With ``grain`` above 1, which ``scripts/gate-noise`` tries out, a side takes that many
    turns in a row. ``counts`` says how many turns a batch takes on each side; if it is given, whole batches
    take turns, each after ``wake`` untimed steps.

    Return this side's nanoseconds, with one list per batch and one entry per turn, and fingerprints of the
    replies, which are computed when the batch is over.
    """

    def decode(batch: Any, order: Sequence[int]) -> tuple[list[int], Any]:
        turns = whole(order[0], counts) if counts else schedule(order, grain)
        meet(me == 1, baton)
        return _one_batch(engine, batch, new_tokens, turns, me, baton, wake)

    return times_of(engine, batches, firsts, decode)


def times_of(
    engine: Engine,
    batches: Sequence[Any],
    firsts: Sequence[Sequence[int]],
    decode: Callable[[Any, Sequence[int]], tuple[list[int], Any]],
) -> TurnTimes:
    """Return what ``decode`` measures of every batch, given the batch and who goes first in its turns."""
    durations: list[tuple[int, ...]] = []
    written: list[int] = []
    cascaded: list[Cascaded] = []
    said: list[str] = []
    for batch, order in zip(batches, firsts, strict=True):
        with undisturbed():
            took, generation = decode(batch, order)
            durations.append(tuple(took))
        cascaded += engine.cascaded()[-len(batch) :]  # earlier entries are from the untimed steps
        tokens = engine.tokens(generation)
        if engine.WHOLE_ANSWERS:
            written.append(sum(map(len, tokens)))
        else:
            said.append(fingerprint(tokens))
    return TurnTimes(tuple(durations), tuple(written), tuple(said), tuple(cascaded))


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


def alone(engine: Engine, batches: Sequence[Any], new_tokens: int, turns: int, wake: int = 0) -> TurnTimes:
    """Decode every batch without a partner, timed as in turns with one."""
    nobody = Nobody()
    firsts = [[0] * turns for _ in batches]
    return duet(engine, batches, new_tokens, firsts, 0, nobody, counts=(turns, 0), wake=wake)


class Nobody(Baton):
    """A partner that takes no turns."""

    def __init__(self) -> None:
        """Need no channel."""

    def give(self) -> None:
        """Do nothing."""

    def wait(self) -> None:
        """Return at once."""


def _rouse(engine: Engine, batch: Any, new_tokens: int, steps: int) -> None:
    """Decode a few untimed tokens of the next request, in its own shapes. The partner's request has cooled
    the processor's caches and clock, and the GPU has switched processes."""
    generation = engine.prefill(batch, new_tokens)
    for _ in range(min(steps, new_tokens - 1)):
        engine.step(generation)
    engine.synchronise()


def _one_batch(
    engine: Engine, batch: Any, new_tokens: int, turns: Sequence[int], me: int, baton: Baton, wake: int
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
        if wake and generation is None:
            _rouse(engine, batch, new_tokens, wake)
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
    meet(turns[-1] == me, baton)
    return took, generation


def meet(last: bool, baton: Baton) -> None:
    """Make both sides begin and end a batch together, so that neither cleans up in the other's timed step."""
    if last:
        baton.give()
        baton.wait()
    else:
        baton.wait()
        baton.give()
