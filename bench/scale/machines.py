"""Define what a dispatcher needs of machines: list them, and begin, hear and end a piece on one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.scale.pieces import Piece

ENDED = "its run had ended"
Chunk = tuple[str, int, bytes]  # the name of a file of the run, a place in it, and what stands there


@dataclass(frozen=True)
class Machine:
    """One machine: an id that is never used twice, a name for people, and its number of GPUs."""

    id: str
    name: str
    gpus: int = 0


@dataclass(frozen=True)
class Heard:
    """What a machine has sent since the last time; ``code`` is the exit code of a run that has ended."""

    chunks: tuple[Chunk, ...] = ()
    said: tuple[str, ...] = ()
    code: int | None = None


@dataclass(frozen=True)
class Lost:
    """A machine that does not answer any more, and what is known about why."""

    reason: str


class Machines(Protocol):
    """Some machines, each of which measures at most one piece at a time."""

    def present(self) -> Sequence[Machine]:
        """Return the machines that are there now."""

    def begin(self, machine: Machine, piece: Piece) -> str | None:
        """Begin to measure a piece. Return why this machine cannot be used, or None if it has begun."""

    def hear(self, machines: Sequence[Machine]) -> Mapping[Machine, Heard | Lost]:
        """Wait until at least one of ``machines`` has something to say, or for some seconds."""

    def stop(self, machine: Machine) -> None:
        """Ask the run on a machine to end; it still writes its summary, which ``hear`` returns."""

    def spare(self, used: Sequence[Machine]) -> None:
        """Let go of all machines but these, because no further piece waits for them."""

    def close(self) -> None:
        """End everything that still runs, and let go of the machines."""
