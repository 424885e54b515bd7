"""Hold what speculating schemes share: a small model that drafts, and the check that it drafted something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.engine import census
from bench.engine.evidence import Census, Check, check
from bench.engine.speculation import Drafter


class ModelDrafter(Drafter):
    """Drafts with a causal language model of transformers, greedily, through a KV cache of its own.

    ``own_weights`` says whether the model's weights are beside those of the model that verifies.
    ``vocabulary`` is how many tokens both models know, None if they are one: no other is drafted or read.
    """

    def __init__(
        self, drafting: Any, tokens: int, *, own_weights: bool, vocabulary: int | None = None
    ) -> None:
        self._model, self._tokens, self._vocabulary = drafting, tokens, vocabulary
        self.model = drafting if own_weights else None
        self._read: list[int] = []
        self._cache: Any = None

    def begin(self) -> None:
        """Empty the cache."""
        from transformers import DynamicCache

        self._cache, self._read = DynamicCache(config=self._model.config.get_text_config(decoder=True)), []

    def _forget(self, count: int) -> None:
        """Take the last tokens out of the cache. A sliding window that is full has lost what would come back
        into it; then everything is read again."""
        try:
            self._cache.crop(-count)
            self._read = self._read[: len(self._read) - count]
        except RuntimeError:
            self.begin()

    def propose(self, context: Sequence[int], most: int) -> list[int]:
        """Take rejected tokens out of the cache, read what is new, and decode a draft."""
        import torch

        same = next((n for n, (a, b) in enumerate(zip(self._read, context, strict=False)) if a != b), None)
        same = min(len(self._read), len(context) - 1) if same is None else same
        if wrong := len(self._read) - same:
            self._forget(wrong)
        new, draft = list(context[len(self._read) :]), list[int]()
        if self._vocabulary is not None and max(new) >= self._vocabulary:
            return draft
        self._read = list(context)
        device = next(self._model.parameters()).device
        with torch.inference_mode():
            while len(draft) < min(self._tokens, most):
                ids = torch.tensor([new], device=device)
                out = self._model(
                    input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=1
                )
                draft.append(int(out.logits[0, -1, : self._vocabulary].argmax()))
                new = draft[-1:]
        self._read += draft[:-1]
        return draft

    def cache_bytes(self) -> int:
        """Return the bytes of the drafting model's keys and values."""
        return census.held_bytes(self._cache) if self._cache is not None else 0


def drafts(after: Census) -> list[Check]:
    """Check that tokens were drafted while a text that repeats itself was continued.

    That the tokens are the model's own is checked by the harness, as for every model after it is loaded.
    """
    drafted = after.decoding.drafted if after.decoding else None
    return [check("tokens drafted for a text that repeats itself", drafted, bool(drafted), "at least 1")]
