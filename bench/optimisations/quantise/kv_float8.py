"""KV cache in float8 (e4m3), with one scale per token and head; the weights stay as they are.

There is one cast in each direction and there are no groups, so no token waits unpacked. The scale is the
largest magnitude divided by 448, the largest number of e4m3. A layer with a sliding window keeps its window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.engine import Changed
from bench.engine.evidence import Census, Check
from bench.optimisations.shared import classes, kv_cache

REQUIRES = ("torch",)
DECODING = True
WEIGHTS = "any"
NOTE = kv_cache.NOTE
LARGEST = 448.0


@dataclass(frozen=True)
class Params:
    """This scheme has no settings."""


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_no_other_cache(config)


def apply(model: Any, params: Params) -> Changed:
    """Give every request another cache, with windows where the model has them. No weight changes.

    Raises Unsupported for a model that keeps something else than keys and values.
    """
    return kv_cache.use_layers(model, lambda: _classes()[0](), lambda tokens: _classes()[1](tokens))


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for float8 cache layers that take fewer bytes per token."""
    return kv_cache.smaller_cache(before, after, 8, "Float8Layer", "Float8WindowLayer")


@cache
def _classes() -> tuple[Any, Any]:
    """Make subclasses of transformers' cache layers at their first use, to import transformers late."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    class Float8Layer(DynamicLayer):  # type: ignore[misc]
        """Hold keys and values in float8 with their scales, and return them in the model's dtype."""

        def update(self, key_states: Any, value_states: Any, *_rest: Any, **_named: Any) -> tuple[Any, Any]:
            """Append the new keys and values in packed form, and return all of them unpacked."""
            return _appended(self, key_states, value_states, slice(None))

    class Float8WindowLayer(DynamicSlidingWindowLayer):  # type: ignore[misc]
        """The same for a sliding window: what the next token cannot see is dropped."""

        def update(self, key_states: Any, value_states: Any, *_rest: Any, **_named: Any) -> tuple[Any, Any]:
            """Append as above, and keep the tokens that fit into the window with the next one."""
            self.cumulative_length += key_states.shape[-2]
            return _appended(self, key_states, value_states, slice(-self.sliding_window + 1, None))

    return Float8Layer, Float8WindowLayer


def _appended(layer: Any, key_states: Any, value_states: Any, kept: slice) -> tuple[Any, Any]:
    """Return what ``layer`` held and the new keys and values, unpacked; it then holds the tokens ``kept``."""
    keys, values = _packed(key_states), _packed(value_states)
    if not layer.is_initialized:
        layer.lazy_initialization(key_states, value_states)
    else:
        keys = _behind((layer.keys, layer.key_scales), keys)
        values = _behind((layer.values, layer.value_scales), values)
    layer.keys, layer.key_scales = (part[..., kept, :].contiguous() for part in keys)
    layer.values, layer.value_scales = (part[..., kept, :].contiguous() for part in values)
    kind = key_states.dtype
    return keys[0].to(kind) * keys[1], values[0].to(kind) * values[1]


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
