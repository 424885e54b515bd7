"""KV cache in float8 (e4m3), with one scale per token and head; the weights stay as they are.

There is one cast in each direction and there are no groups, so no token waits unpacked. The scale is the
largest magnitude divided by 448, the largest number of e4m3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check
from bench.optimisations.shared import kv_cache

REQUIRES = ("torch",)
DECODING = True
WEIGHTS = "any"
NOTE = kv_cache.NOTE
LARGEST = 448.0


@dataclass(frozen=True)
class Params:
    """This scheme has no settings."""


def apply(model: Any, params: Params) -> Changed:
    """Give every request another cache. No weight changes."""
    return kv_cache.use_layers(model, _layer_class())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for float8 cache layers that take fewer bytes per token."""
    return kv_cache.smaller_cache(before, after, "Float8Layer", 8)


@cache
def _layer_class() -> Any:
    """Make a subclass of transformers' cache layer at its first use, to import transformers late."""
    from transformers.cache_utils import DynamicLayer

    class Float8Layer(DynamicLayer):  # type: ignore[misc]
        """Hold keys and values in float8 with their scales, and return them in the model's dtype."""

        keys: Any
        values: Any
        key_scales: Any
        value_scales: Any

        def update(self, key_states: Any, value_states: Any, *_rest: Any, **_named: Any) -> tuple[Any, Any]:
            """Append the new keys and values in packed form, and return all of them unpacked."""
            keys, values = _packed(key_states), _packed(value_states)
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            else:
                keys = _behind((self.keys, self.key_scales), keys)
                values = _behind((self.values, self.value_scales), values)
            (self.keys, self.key_scales), (self.values, self.value_scales) = keys, values
            kind = key_states.dtype
            return self.keys.to(kind) * self.key_scales, self.values.to(kind) * self.value_scales

    return Float8Layer


def _packed(states: Any) -> tuple[Any, Any]:
    """Return (float8 [batch, heads, tokens, size], scales [batch, heads, tokens, 1])."""
    import torch

    scales = states.abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (states / scales).to(torch.float8_e4m3fn), scales


def _behind(held: tuple[Any, Any], new: tuple[Any, Any]) -> tuple[Any, Any]:
    """Join along the tokens, as bytes: float8 itself has no ``cat`` on some devices."""
    import torch

    packed = torch.cat([part.view(torch.uint8) for part in (held[0], new[0])], -2)
    return packed.view(torch.float8_e4m3fn), torch.cat([held[1], new[1]], -2)
