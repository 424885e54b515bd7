"""Run half of a model with the transformers engine; bench/engine/splitting.py has the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.engine import Engine
from bench.engine.evidence import Census
from bench.engine.splitting import Rest, cache_shape, rows_of
from bench.records.splits import SplitWork


class Splitting(Engine):
    """An engine whose ``_rest`` is in another process, if it is split."""

    _rest: Rest | None = None
    _cache_name: str
    device: Any
    _without_gradients: Any
    _new_cache: Any

    def seen_by_hooks(self) -> bool:
        """Return False for a split model: the other process computes a part of it."""
        return self._rest is None and super().seen_by_hooks()

    def crosses(self, batch: Any) -> bool:
        """Return whether the next pass of a batch is done with the other process, or in it."""
        return self._rest is not None and (batch.length == 0 or not self._rest.prompts_only)

    def give_split(self, batch: Any, ids: Any) -> None:
        """Give one more token of every sequence: the edge's layers, the link, the cloud's layers."""
        import torch

        assert self._rest is not None
        started = self._rest.begin_pass()
        start, batch.length = batch.length, batch.length + ids.shape[1]
        if start == 0:
            batch.of_rest = self._rest.begin_batch()
        if self._rest.prompts_only:
            tokens = self._into_cache(batch.cache, ids, _pads(batch, ids), started)
        else:
            self._rest.must_be_current(batch.of_rest)
            given: dict[str, Any] = {"use_cache": True, self._cache_name: batch.cache}
            if batch.mask is not None:
                given["attention_mask"] = batch.mask[:, : batch.length]
                given["position_ids"] = batch.positions[:, start : batch.length]
            with self._without_gradients():
                rows = rows_of(self.model, ids, **given)
            tokens = self._rest.choose(rows, _pads(batch, ids) if start == 0 else None, started)
        batch.chosen.append(torch.tensor(tokens, device=self.device).unsqueeze(1))

    def _into_cache(self, cache: Any, ids: Any, pads: Sequence[int], started_ns: int | None) -> list[int]:
        """Let the cloud read prompts, put its keys and values into the cache, and return its tokens."""
        assert self._rest is not None
        found = self._rest.read_prompts(ids, pads, cache_shape(self.model), started_ns)
        with self._without_gradients():
            for number, (keys, values) in enumerate(found.layers):
                cache.update(keys.to(self.device), values.to(self.device), number)
        return found.tokens

    def split_logits(self, ids: Sequence[int]) -> Any:
        """Return the logits of a window, float32 [tokens, vocabulary], computed as requests are.

        Both halves compute all rows without a cache. Where only prompts are read elsewhere, the first half of
        the window is the prompt, and the rest is read here behind the cache that came.
        """
        import torch

        assert self._rest is not None
        window = torch.tensor([list(ids)], device=self.device)
        with self._without_gradients():
            if not self._rest.prompts_only:
                return self._rest.logits(rows_of(self.model, window, use_cache=False)).to(self.device)
            half = len(ids) // 2
            head = self.model(input_ids=window[:, : half or 1], use_cache=False).logits[0].float()
            if not half:
                return head
            cache = self._new_cache(1, len(ids))
            self._into_cache(cache, window[:, :half], [0], None)
            behind = {self._cache_name: cache}
            tail = self.model(input_ids=window[:, half:], use_cache=True, **behind).logits[0].float()
            return torch.cat([head, tail])

    def census(self, *, count_zeros: bool = True) -> Census:
        """Take the census of the edge's half, and add the bytes of the cloud's."""
        found = super().census(count_zeros=count_zeros)
        if self._rest is None:
            return found
        more = self._rest.weights_bytes
        by_dtype = Counter(found.bytes_by_dtype) + Counter({self.facts().dtype: more})
        return replace(found, weights_bytes=found.weights_bytes + more, bytes_by_dtype=dict(by_dtype))

    def parameters(self) -> int:
        """Return the number of parameters of both halves; a tied head, which both hold, counts twice."""
        return super().parameters() + (self._rest.parameters if self._rest is not None else 0)

    def split_work(self) -> SplitWork | None:
        """Return what both halves did since the last call; None if the model is whole."""
        return self._rest.read() if self._rest is not None else None


def _pads(batch: Any, ids: Any) -> list[int]:
    """Return how many positions of each sequence are padding."""
    if batch.mask is None:
        return [0] * len(ids)
    return [int(count) for count in (ids.shape[1] - batch.mask[:, : ids.shape[1]].sum(-1)).tolist()]
