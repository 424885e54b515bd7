"""Read once what several prompts begin with: the interface of an engine that can."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from bench.engine import Engine


class ReadsOnce(Engine):
    """An engine that keeps what it has read, and reads several prompts behind a copy of it."""

    @abstractmethod
    def read_beginning(self, ids: Sequence[int]) -> Any | None:
        """Read what several prompts begin with, and return what is kept of it; None if this model must read
        each prompt whole."""

    @abstractmethod
    def prefill_behind(self, beginning: Any, rest: Sequence[int], new_tokens: int) -> Any:
        """Read the rest of one prompt behind a copy of its beginning, which stays as it is. Choose the first
        token and return the generation, as ``prefill`` does for the whole prompt."""
