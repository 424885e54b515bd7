"""Make the KV cache of the transformers engine, and look at what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from bench.engine import Engine, census
from bench.engine.speculation import Speculation, Speculator
from bench.engine.splitting import Rest


@dataclass
class Batch:
    """Hold the state of one batch that is being decoded. ``mask`` has room for every token to come.

    With ``whole_mask`` each step gets all of it: the shapes of a compiled step stay the same.
    """

    cache: Any
    mask: Any | None
    positions: Any | None
    length: int
    chosen: list[Any] = field(default_factory=list)
    speculation: Speculation | None = None  # if something drafts
    watched: list[Any] = field(default_factory=list)
    of_rest: int = 0  # its number in another process, if the model is split
    whole_mask: bool = False

    def mask_of(self, start: int) -> Any | None:
        """Return the mask of a pass over the tokens from ``start`` to ``length``; None without padding."""
        return self.mask if self.mask is None or (self.whole_mask and start) else self.mask[:, : self.length]


class Caching(Engine):
    """An engine whose cache is that of a scheme, if there is one, or transformers' own."""

    _make_cache: Callable[[int, int], Any] | None
    _makes_own: bool
    _rest: Rest | None
    _speculator: Speculator | None
    _without_gradients: Any
    _cache_name: str
    _step: Any | None
    _in_place: list[Any]  # caches of compiled steps that have their tensors

    def _new_cache(self, sequences: int, tokens: int) -> Any:
        from transformers import DynamicCache

        with self._without_gradients():
            if self._make_cache is not None:
                return self._with_tensors(self._make_cache(sequences, tokens), sequences)
            return None if self._makes_own else DynamicCache(config=self._decoder_config())

    def _with_tensors(self, cache: Any, sequences: int) -> Any:
        """Return a cache that has its tensors, if a compiled step will fill it.

        A cache makes them with its first token. Made in a compiled step they would be outputs of its CUDA
        graph, which the next step overwrites. Their shapes are marked as fixed: else the second batch size
        gets a graph for batches of any size, which is slower than one of its own.
        """
        if self._room(cache) is None or any(cache is one for one in self._in_place):
            return cache
        import torch

        token = torch.zeros(sequences, 1, dtype=torch.long, device=self.model.device)
        self._pass(self.model, token, cache)
        cache.reset()
        for tensor in (getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values")):
            if isinstance(tensor, torch.Tensor):
                torch._dynamo.mark_static(tensor)
        self._in_place.append(cache)
        return cache

    def _room(self, cache: Any) -> int | None:
        """Return for how many tokens a static cache has room, if a compiled step fills it; else None."""
        if self._step is None or not getattr(cache, "is_compileable", False):
            return None
        return max((getattr(layer, "max_cache_len", 0) for layer in cache.layers), default=0) or None

    def _pass(
        self, model: Any, ids: Any, cache: Any, keep: int = 1, mask: Any = None, positions: Any = None
    ) -> Any:
        """Run one forward pass through a cache, and return its output with the last ``keep`` rows of logits
        (0: all). It names every argument each time: another set of names would be another graph."""
        named = {self._cache_name: cache, "attention_mask": mask, "position_ids": positions}
        return model(input_ids=ids, use_cache=True, logits_to_keep=keep, **named)

    def _decoder_config(self) -> Any:
        """Return the config of the part that writes: others are of pictures, or of an encoder."""
        return self.model.config.get_text_config(decoder=True)

    def cache_bytes(self, generation: Any) -> int:
        """Return the bytes of the keys and values held for this batch, including their scales."""
        more = self._speculator.drafter.cache_bytes() if self._speculator is not None else 0
        more += self._rest.held_bytes() if self._rest is not None else 0
        return self._own_cache_bytes(generation.cache) + more

    def _own_cache_bytes(self, cache: Any) -> int:
        if (layers := getattr(cache, "layers", None)) is None:
            return census.held_bytes(SimpleNamespace(cache=cache))
        beside = SimpleNamespace(**{key: value for key, value in vars(cache).items() if key != "layers"})
        return sum(census.held_bytes(part) for part in (*layers, beside))

    def cache_classes(self, generation: Any) -> Mapping[str, int]:
        """Return how many layers each class holds the keys and values of."""
        layers = getattr(generation.cache, "layers", None) or [generation.cache]
        return dict(Counter(type(one).__name__ for one in layers))
