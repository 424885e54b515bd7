"""Read once what several prompts begin with, with the transformers engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from bench.engine.beginnings import ReadsOnce
from bench.runtimes._caching import Batch, Caching


class Beginning(ReadsOnce, Caching):
    """An engine with a cache that can be copied.

    A cache of a scheme is not: it holds packed keys, which the rest of a prompt would see and would not in
    one pass. Neither is one that grows elsewhere: in another process, or in a drafting model. Where
    activations have one scale for all tokens of a pass, a text in two parts has other scales than a whole.
    """

    _advance: Callable[[Any, Any], None]
    _step_model: Any
    _turns: tuple[int, ...]
    device: Any

    def read_beginning(self, ids: Sequence[int]) -> Any | None:
        """Return the cache of these tokens, or None."""
        import torch

        others = (self._make_cache, self._rest, self._speculator, self.ranks)
        if any(one is not None for one in others) or self._makes_own or self._turns:
            return None
        if self._step_model is not self.model or any(map(_has_a_scale_per_pass, self.model.modules())):
            return None
        batch = Batch(self._new_cache(1, len(ids)), None, None, 0)
        self._advance(batch, torch.tensor([list(ids)], device=self.device))
        batch.chosen.clear()
        batch.watched.clear()
        return batch

    def prefill_behind(self, beginning: Any, rest: Sequence[int], new_tokens: int) -> Any:
        """Return a generation of one sequence."""
        import torch

        batch = copy.deepcopy(beginning)
        self._advance(batch, torch.tensor([list(rest)], device=self.device))
        return batch


def _has_a_scale_per_pass(module: Any) -> bool:
    return "quantized.dynamic" in type(module).__module__
