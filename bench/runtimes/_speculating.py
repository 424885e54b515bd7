"""Verify drafts with the transformers engine; the loop is in bench/engine/speculation.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench.engine import Engine, census
from bench.engine.evidence import Census
from bench.engine.speculation import Speculation, Speculator
from bench.errors import Unsupported
from bench.records import Speculated


class Speculating(Engine):
    """An engine whose model verifies what ``_speculator`` drafts, if there is one."""

    _speculator: Speculator | None
    _cache_name: str
    device: Any
    _without_gradients: Any

    def begin_drafting(self, batch: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> None:
        """Begin a sequence. Raises Unsupported for a batch, or a cache from which no token can be taken."""
        assert self._speculator is not None
        if len(prompts) > 1:
            raise Unsupported("speculates for one sequence at a time: set batch_size to 1")
        if not getattr(batch.cache, "is_croppable", hasattr(batch.cache, "crop")):
            name = type(self.model).__name__
            raise Unsupported(f"no token can be taken out of the cache of {name}, so nothing can be drafted")
        getattr(batch.cache, "activate_past_recording", lambda: None)()
        self._speculator.drafter.begin()
        batch.speculation = Speculation([*prompts[0], int(batch.chosen[0])], new_tokens - 1)

    def give_drafted(self, batch: Any) -> None:
        """Give the next token: one that is verified already, or the first of a new round."""

        def forget(count: int) -> None:
            batch.cache.crop(-count)

        token = batch.speculation.next(self._speculator, lambda ids: self._verified(batch, ids), forget)
        batch.chosen.append(self._tensor([[token]]))

    def _verified(self, batch: Any, ids: Sequence[int]) -> list[int]:
        """Read drafted tokens in one pass and return what the model chooses after each of them."""
        with self._without_gradients():
            out = self.model(input_ids=self._tensor([ids]), use_cache=True, **{self._cache_name: batch.cache})
            return [int(token) for token in out.logits[0].argmax(-1).tolist()]

    def _tensor(self, ids: Sequence[Sequence[int]]) -> Any:
        import torch

        return torch.tensor(ids, device=self.device)

    def census(self, *, count_zeros: bool = True) -> Census:
        """Take the census of the model, and add the bytes of a drafting model."""
        found = super().census(count_zeros=count_zeros)
        if (drafting := self._drafting()) is None:
            return found
        more = census.take(drafting, count_zeros=False)
        by_dtype = Counter(found.bytes_by_dtype) + Counter(more.bytes_by_dtype)
        return replace(
            found, weights_bytes=found.weights_bytes + more.weights_bytes, bytes_by_dtype=dict(by_dtype)
        )

    def parameters(self) -> int:
        """Return the number of parameters, those of a drafting model included."""
        drafting = self._drafting()
        more = census.parameters(drafting) if drafting is not None else 0
        return super().parameters() + more

    def _drafting(self) -> Any:
        return self._speculator.drafter.model if self._speculator is not None else None

    def drafted(self, context: Sequence[int], most: int) -> int | None:
        """Return how many tokens are drafted behind ``context``; None without a drafter."""
        if self._speculator is None:
            return None
        self._speculator.drafter.begin()
        return len(self._speculator.drafter.propose(context, most))

    def speculated(self) -> Speculated | None:
        """Return what was drafted and kept since the last call; None without a drafter."""
        return self._speculator.read() if self._speculator is not None else None
