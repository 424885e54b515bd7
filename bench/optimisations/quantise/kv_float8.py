"""KV cache in float8 (e4m3), one scale per token and head; the weights stay as they are.

A cast each way and no groups, so nothing waits unpacked. The scale is the largest magnitude over the largest
number of e4m3, 448.
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
    """Nothing to set."""


def unsupported(device: str, dtype: str) -> str | None:
    """Runs on CPU and CUDA in every dtype."""
    return None


def apply(model: Any, params: Params) -> Changed:
    """Another cache for every request; no weight changes."""
    return kv_cache.use_layers(model, _layer_class())


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Float8 layers that take fewer bytes per token."""
    return kv_cache.smaller_cache(before, after, "Float8Layer", 8)


@cache
def _layer_class() -> Any:
    """A class of transformers' cache layers, made where transformers is at hand."""
    from transformers.cache_utils import DynamicLayer

    class Float8Layer(DynamicLayer):  # type: ignore[misc]
        """Keys and values in float8 with their scales, given back in the model's dtype."""

        keys: Any
        values: Any
        key_scales: Any
        value_scales: Any

        def update(self, key_states: Any, value_states: Any, *_rest: Any, **_named: Any) -> tuple[Any, Any]:
            """Pack the new keys and values behind the others; returns all of them unpacked."""
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
    """(float8 [batch, heads, tokens, size], scales [batch, heads, tokens, 1])."""
    import torch

    scales = states.abs().amax(-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (states / scales).to(torch.float8_e4m3fn), scales


def _behind(held: tuple[Any, Any], new: tuple[Any, Any]) -> tuple[Any, Any]:
    """Joined along the tokens; float8 has no ``cat`` of its own on every device, its bytes do."""
    import torch

    packed = torch.cat([part.view(torch.uint8) for part in (held[0], new[0])], -2)
    return packed.view(torch.float8_e4m3fn), torch.cat([held[1], new[1]], -2)
