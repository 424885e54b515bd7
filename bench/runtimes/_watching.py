"""Show how sure a model of the transformers engine was of each token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.engine import Engine
from bench.engine.speculation import Speculator
from bench.errors import Unsupported


class Watching(Engine):
    """An engine that computes ``_watch`` of the logits of each step, if it is given, and chooses a token with
    ``_choose`` where that is given, else greedily."""

    _speculator: Speculator | None
    _watch: Callable[[Any], Any] | None = None
    _choose: Callable[[Any], Any] | None = None

    def watch(self, statistic: Callable[[Any], Any]) -> None:
        """Compute a statistic of the logits of every token. Raises Unsupported beside something that drafts:
        drafted tokens are verified several in a pass."""
        if self._speculator is not None:
            raise Unsupported("tokens that were drafted have no logits of a step of their own")
        self._watch = statistic

    def watched(self, generation: Any) -> list[list[Any]]:
        """Copy the statistic of every token so far to the host."""
        import torch

        return [list(row) for row in torch.stack(generation.watched, dim=1).tolist()]

    @contextmanager
    def choosing(self, choose: Callable[[Any], Any]) -> Iterator[None]:
        """Choose tokens otherwise within the block. Raises Unsupported beside something that drafts."""
        if self._speculator is not None:
            raise Unsupported("tokens that were drafted are verified against the greedy ones")
        watch, self._watch, self._choose = self._watch, None, choose
        try:
            yield
        finally:
            self._watch, self._choose = watch, None
