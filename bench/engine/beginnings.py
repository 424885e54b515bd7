"""Read once what several texts begin with: the interface of an engine that can."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from bench.engine import Engine


class ReadsOnce(Engine):
    """An engine that keeps what it has read, and reads several texts behind copies of it."""

    @abstractmethod
    def read_beginnings(self, beginnings: Sequence[Sequence[int]]) -> Any | None:
        """Read beginnings of one length, and return what is kept of them; None if this model must read each
        text whole."""

    @abstractmethod
    def pads_behind(self, kept: Any, tokens: int) -> bool:
        """Return whether the rests of several prompts may have several lengths, if a prompt, its padding and
        its reply have at most so many ``tokens``."""

    @abstractmethod
    def prefill_behind(self, kept: Any, rests: Sequence[Sequence[int]], new_tokens: int) -> Any:
        """Read the rests of prompts behind copies of their one beginning, which stays as it is. Choose the
        first token of each and return the generation, as ``prefill`` does for whole prompts."""

    @abstractmethod
    def logits_behind(self, kept: Any, places: Sequence[int], rests: Sequence[Sequence[int]]) -> Any:
        """Return the logits of the rests of texts, each behind a copy of the beginning at its place: float32,
        shape [rests, longest rest, vocabulary]. The rows behind the end of a rest mean nothing."""
