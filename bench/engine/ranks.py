"""Tell the processes what to do that hold the other parts of a model which is split over several devices.

The worker is rank 0 of a group. Each further rank is a process of its own, which repeats the passes that the
worker makes: it reads one frame for each, and gets the tokens from the worker over the devices' own links.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import struct
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from threading import Thread
from typing import Any, NamedTuple

from bench.engine import further
from bench.errors import Outcome, VariantFailed

FRAME = struct.Struct("<BIIIIB")
ANSWERS_WITHIN_S = 60.0
LONGEST_LINE = 65_536


class Op(IntEnum):
    """List what a rank is told to do."""

    FORWARD = 1  # one pass, together with all ranks
    DROP = 2  # forget a cache
    RESET = 3  # begin to count the peak of memory anew
    PEAKS = 4  # answer with the peak bytes, by kind


class Frame(NamedTuple):
    """Hold what a rank must know of a pass besides its tokens. Numbers of caches begin with 1; 0 is a pass
    without a cache. ``columns`` are those of the mask, 0 if there is none. ``rows`` are those whose logits
    are wanted, from the last one on; 0 is all."""

    op: Op
    cache: int = 0
    sequences: int = 0
    tokens: int = 0
    columns: int = 0
    rows: int = 0


class Ranks:
    """Own the processes of ranks 1 to n − 1. They end with this object at the latest."""

    def __init__(self, told: Sequence[Mapping[str, Any]]) -> None:
        self._channels: list[socket.socket] = []
        self._processes: list[further.Process] = []
        self._heard: list[queue.Queue[Mapping[str, Any]]] = []
        self.size = 1 + len(told)
        self._end = weakref.finalize(self, further.end, self._processes, self._channels)
        for one in told:
            ours, theirs = socket.socketpair()
            self._channels.append(ours)
            self._processes.append(further.started("rank", theirs))
            ours.sendall(json.dumps(one).encode() + b"\n")
            heard: queue.Queue[Mapping[str, Any]] = queue.Queue()
            self._heard.append(heard)
            Thread(target=_listen, args=(ours, heard, self._end), daemon=True).start()

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the process ids."""
        return tuple(process.pid for process in self._processes)

    def close(self) -> None:
        """End the processes now; a second call does nothing."""
        self._end()

    def tell(self, frame: Frame) -> None:
        """Send one frame to every rank. Raises VariantFailed if one is gone."""
        packed = FRAME.pack(*frame)
        for channel in self._channels:
            try:
                channel.sendall(packed)
            except OSError as bad:
                raise lost(bad.strerror or type(bad).__name__) from None

    def forget(self, cache: int) -> None:
        """Let every rank drop a cache; nothing if they have ended already."""
        with suppress(VariantFailed):
            self.tell(Frame(Op.DROP, cache))

    def reset_peaks(self) -> None:
        """Let every rank count its peak of memory anew."""
        self.ask(Op.RESET)

    def peaks(self) -> list[Mapping[str, Any]]:
        """Return the peak bytes of every rank, by kind, as ``memory.read_peak`` has them."""
        return self.ask(Op.PEAKS)

    def ask(self, op: Op) -> list[Mapping[str, Any]]:
        """Send one frame to every rank and return their answers. Raises VariantFailed if one gives none."""
        self.tell(Frame(op))
        try:
            return [heard.get(timeout=ANSWERS_WITHIN_S) for heard in self._heard]
        except queue.Empty:
            raise lost(f"no answer within {ANSWERS_WITHIN_S:g} s") from None


def lost(why: str) -> VariantFailed:
    """Return the failure of a group that has lost one of its processes."""
    return VariantFailed(Outcome.RUN_ERROR, f"a process that holds a part of the model is gone ({why})")


def received(channel: socket.socket) -> Frame | None:
    """Wait for one frame; None if the worker has closed the connection."""
    packed = b""
    while len(packed) < FRAME.size:
        part = channel.recv(FRAME.size - len(packed))
        if not part:
            return None
        packed += part
    op, *numbers = FRAME.unpack(packed)
    return Frame(Op(op), *numbers)


def line_of(channel: socket.socket) -> Mapping[str, Any] | None:
    """Read one line of JSON, and nothing behind it; None if the connection ends before."""
    line = bytearray()
    while not line.endswith(b"\n"):
        part = channel.recv(1)
        if not part or len(line) > LONGEST_LINE:
            return None
        line += part
    return dict(json.loads(line))


def _listen(
    channel: socket.socket, heard: queue.Queue[Mapping[str, Any]], end: weakref.finalize[..., Any]
) -> None:
    """Collect the answers of a rank. If it fails or is gone, say so and end this process.

    The worker may be in a collective that never returns, so nothing but this thread can say it.
    """
    while True:
        try:
            said = line_of(channel)
        except OSError:
            said = None
        if not end.alive:
            return
        if said is None or "failed" in said:
            outcome, reason = (said or {}).get("failed", (Outcome.RUN_ERROR, "it ended without a word"))
            failure = VariantFailed(Outcome(outcome), f"a process that holds a part of the model: {reason}")
            sys.excepthook(VariantFailed, failure, None)
            sys.stderr.flush()
            os._exit(1)
        heard.put(said)
