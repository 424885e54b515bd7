"""Score text with the transformers engine: compute the logits of a whole window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.runtimes._caching import Caching
from bench.runtimes._splitting import Splitting

CACHED_TOKENS_A_CALL = 16  # when scoring through a cache: the tokens of a call see each other unquantised


class Scoring(Caching, Splitting):
    """An engine that computes all rows of a window at once, or as its cache and its other half ask for."""

    _step_model: Any

    def logits_in_batch(self, texts: Sequence[Sequence[int]]) -> Any | None:
        """Return the logits of texts of one length from one pass; None if windows go through a cache, or
        through another half of the model."""
        import torch

        if self._make_cache is not None or self._rest is not None:
            return None
        with self._without_gradients():
            rows = torch.tensor([list(ids) for ids in texts], device=self.device)
            return self.model(input_ids=rows, use_cache=False).logits.float()

    def logits(self, ids: Sequence[int]) -> Any:
        """Return the logits of a window from one forward pass without a cache, float32 for any model dtype.

        If a scheme changed the cache, the window goes through the cache, a few tokens per call. If the step
        was compiled, it is one token per call.
        """
        import torch

        if self._rest is not None:
            return self.split_logits(ids)
        with self._without_gradients():
            window = torch.tensor([list(ids)], device=self.device)
            if self._make_cache is None:
                return self.model(input_ids=window, use_cache=False).logits[0].float()
            cache = self._new_cache(1, len(ids))
            compiled = self._step_model is not self.model
            parts = []
            for part in window.split(1 if compiled else CACHED_TOKENS_A_CALL, dim=1):
                own = part.clone(memory_format=torch.contiguous_format)  # other strides are another graph
                rows = self._pass(self._step_model, own, cache, 1 if compiled else 0).logits[0]
                parts.append(rows.to(torch.float32, copy=compiled))  # a CUDA graph overwrites its output
            return torch.cat(parts)
