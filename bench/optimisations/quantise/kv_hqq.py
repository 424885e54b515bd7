"""KV cache in 8, 4 or 2 bits by HQQ; the weights stay as they are.

Source: Liu et al. 2024 (KIVI), arXiv 2402.02750, as implemented in transformers. A prompt is packed at once.
Generated tokens wait in full precision until there are ``residual_length`` of them. Layers with a sliding
window stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import Changed
from bench.engine.evidence import Census, Check
from bench.optimisations.shared import classes, kv_cache

REQUIRES = ("hqq",)
DECODING = True
WEIGHTS = "any"
NOTE = kv_cache.NOTE


@dataclass(frozen=True)
class Params:
    """A number takes ``bits`` bits; ``group_size`` numbers share a scale.

    The last tokens, up to ``residual_length``, are not packed yet.
    """

    bits: Literal[8, 4, 2] = 8
    group_size: int = 32
    residual_length: int = 128

    def __post_init__(self) -> None:
        kv_cache.check_sizes(self.group_size, self.residual_length)


def refuse_model(params: Params, config: Mapping[str, Any]) -> str | None:
    """Return why the class of a model does not take this scheme, or None; ``config`` is its config.json."""
    return classes.why_no_other_cache(config) or kv_cache.why_no_group(config, _fills_bytes(params))


def _fills_bytes(params: Params) -> int:
    """Return how many numbers a token must have a multiple of, so that it fills groups and whole bytes."""
    return params.group_size * 8 // params.bits


def apply(model: Any, params: Params) -> Changed:
    """Give every request another cache. No weight changes."""
    from transformers.cache_utils import HQQQuantizedLayer

    kv_cache.check_group(model, _fills_bytes(params))
    return kv_cache.use_layers(
        model,
        lambda: HQQQuantizedLayer(
            nbits=params.bits,
            axis_key=1,
            axis_value=1,
            q_group_size=params.group_size,
            residual_length=params.residual_length,
        ),
    )


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check for quantised cache layers that take fewer bytes per token."""
    return kv_cache.smaller_cache(before, after, params.bits, "HQQQuantizedLayer", windows_stay=True)
