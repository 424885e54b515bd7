"""Define what an engine in process has to be able to do: take requests, and make steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Refused(Exception):
    """The engine does not take a request; the sentence says why."""


@dataclass(frozen=True)
class Wanted:
    """A request: the token ids of the prompt and the most tokens of the reply.

    A ``whole`` reply has exactly so many, whatever ends a text. With ``distribution`` the natural logarithms
    of the probability of every token at the first position are wanted too.
    """

    ids: tuple[int, ...]
    most: int
    whole: bool = False
    distribution: bool = False


@dataclass(frozen=True)
class Made:
    """What a step made for one request, by its ``key``: new tokens (``ids``), and how it ended if it did.

    ``finish`` is ``length`` or ``stop``. ``failed`` says why there will be no more; ``refused`` that the
    request itself was the reason. ``cached`` is how many tokens of the prompt the engine had already.
    """

    key: str
    ids: tuple[int, ...] = ()
    finish: str | None = None
    failed: str = ""
    refused: bool = False
    cached: int | None = None
    distribution: Mapping[int, float] | None = None


@dataclass(frozen=True)
class Step:
    """What was made by the monotonic time ``at_ns``, when a step had ended."""

    at_ns: int
    made: tuple[Made, ...] = ()


class Engine(Protocol):
    """An engine that holds a model. Only ``step`` is called by one thread; the others are called by any."""

    def evidence(self) -> Mapping[str, object]:
        """Return what the engine says of itself, as JSON."""

    def tokens(self, text: str, *, special: bool) -> Sequence[int]:
        """Return the token ids of a text; with ``special``, as it stands before a prompt."""

    def turn(self, text: str) -> Sequence[int]:
        """Return the token ids of what a user says, in the model's chat template. Raises Refused."""

    def text(self, ids: Sequence[int]) -> str:
        """Return token ids as text."""

    def add(self, key: str, wanted: Wanted) -> None:
        """Take a request. Raises Refused."""

    def cancel(self, key: str) -> None:
        """Drop a request; nothing more is made for it, and one that has ended is no mistake."""

    def step(self) -> Step:
        """Wait until a step has ended, or a moment if there is nothing to do, and return what it made.

        Raises any exception if the engine cannot go on.
        """
