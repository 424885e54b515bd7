"""Read once what several texts begin with, with the transformers engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bench.engine.beginnings import ReadsOnce
from bench.runtimes._caching import Batch, Caching


class _Kept(NamedTuple):
    """What is kept of so many ``beginnings``."""

    batch: Batch
    beginnings: int


class Beginning(ReadsOnce, Caching):
    """An engine with a cache that can be copied.

    A cache of a scheme is not: it holds packed keys, which the rest of a prompt would see and would not in
    one pass. Neither is one that grows elsewhere: in another process, or in a drafting model. Where
    activations have one scale for all tokens of a pass, a text in two parts has other scales than a whole.
    """

    _advance: Callable[[Any, Any], None]
    _cache_name: str
    _step_model: Any
    _turns: tuple[int, ...]
    device: Any

    def read_beginnings(self, beginnings: Sequence[Sequence[int]]) -> Any | None:
        """Return the cache of these tokens, or None."""
        import torch

        others = (self._make_cache, self._rest, self._speculator, self.ranks)
        if any(one is not None for one in others) or self._makes_own or self._turns:
            return None
        if self._step_model is not self.model or any(map(_has_a_scale_per_pass, self.model.modules())):
            return None
        ids = torch.tensor([list(one) for one in beginnings], device=self.device)
        batch = Batch(self._new_cache(*ids.shape), None, None, 0)
        self._advance(batch, ids)
        batch.chosen.clear()
        batch.watched.clear()
        return _Kept(batch, len(beginnings))

    def pads_behind(self, kept: _Kept, tokens: int) -> bool:
        """Return whether padding between beginning and rest pushes nothing out of a sliding window."""
        slide = (layer for layer in kept.batch.cache.layers if getattr(layer, "is_sliding", False))
        return all(tokens <= layer.sliding_window for layer in slide)

    def prefill_behind(self, kept: _Kept, rests: Sequence[Sequence[int]], new_tokens: int) -> Any:
        """Return a generation. Shorter rests are padded on the left, behind the beginning."""
        import torch

        batch, width = self._copied(kept, [0] * len(rests)), max(map(len, rests))
        ids = torch.tensor([[0] * (width - len(rest)) + list(rest) for rest in rests], device=self.device)
        if any(len(rest) != width for rest in rests):
            columns = batch.length + width + new_tokens
            batch.mask = torch.ones(len(rests), columns, dtype=torch.long, device=self.device)
            for row, rest in enumerate(rests):
                batch.mask[row, batch.length : batch.length + width - len(rest)] = 0
            batch.positions = batch.mask.cumsum(-1).sub_(1)
        self._advance(batch, ids)
        return batch

    def logits_behind(self, kept: _Kept, places: Sequence[int], rests: Sequence[Sequence[int]]) -> Any:
        """Return the logits. Shorter rests are padded on the right, where no token of theirs looks."""
        import torch

        batch, width = self._copied(kept, places), max(map(len, rests))
        padded = [list(rest) + [0] * (width - len(rest)) for rest in rests]
        with self._without_gradients():
            ids = torch.tensor(padded, device=self.device)
            held = {self._cache_name: batch.cache}
            return self.model(input_ids=ids, use_cache=True, **held).logits.float()

    def _copied(self, kept: _Kept, places: Sequence[int]) -> Batch:
        import torch

        batch = copy.deepcopy(kept.batch)
        if list(places) != list(range(kept.beginnings)):
            batch.cache.reorder_cache(torch.tensor(places, device=self.device))
        return batch


def _has_a_scale_per_pass(module: Any) -> bool:
    return "quantized.dynamic" in type(module).__module__
