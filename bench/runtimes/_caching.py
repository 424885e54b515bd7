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
    """Hold the state of one batch that is being decoded. ``mask`` has room for every token to come."""

    cache: Any
    mask: Any | None
    positions: Any | None
    length: int
    chosen: list[Any] = field(default_factory=list)
    speculation: Speculation | None = None  # if something drafts
    watched: list[Any] = field(default_factory=list)
    of_rest: int = 0  # its number in another process, if the model is split


class Caching(Engine):
    """An engine whose cache is that of a scheme, if there is one, or transformers' own."""

    _make_cache: Callable[[int, int], Any] | None
    _makes_own: bool
    _rest: Rest | None
    _speculator: Speculator | None
    _without_gradients: Any

    def _new_cache(self, sequences: int, tokens: int) -> Any:
        from transformers import DynamicCache

        with self._without_gradients():
            if self._make_cache is not None:
                return self._make_cache(sequences, tokens)
            return None if self._makes_own else DynamicCache(config=self._decoder_config())

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
