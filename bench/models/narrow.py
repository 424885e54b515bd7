"""Make the layers of a config narrower: its widths, its heads and its vocabulary, all by one factor."""

from __future__ import annotations

from typing import Any

from bench.models.config_keys import (
    DERIVED,
    HEAD_DIMS,
    HEAD_GROUPS,
    HEADS,
    HIDDEN,
    KV_HEADS,
    MORE_HEADS,
    VOCABULARIES,
    WIDTHS,
    first,
)

LEAST_WIDTH, LEAST_VOCABULARY, LEAST_HEADS = 16, 512, 4
LEAST_HEAD = 8  # the size of a head is a multiple of it, so that three quarters of it are even


def narrower(config: dict[str, Any], hidden: int) -> None:
    """Set the hidden size, and scale every other width with it."""
    key = first(config, HIDDEN)
    if key is None:
        return
    before = config[key]
    for name in HIDDEN:
        if config.get(name) == before:
            config[name] = hidden

    def scaled(value: int, least: int = LEAST_WIDTH) -> int:
        return hidden if value == before else max(least, round(value * hidden / before / 16) * 16)

    for name in WIDTHS:
        value = config.get(name)
        if isinstance(value, list):
            config[name] = [scaled(one) if type(one) is int and one else one for one in value]
        elif type(value) is int and value > 0:
            config[name] = scaled(value)
    for name in VOCABULARIES:
        if type(config.get(name)) is int:
            config[name] = max(LEAST_VOCABULARY, min(config[name], scaled(config[name])))
    _fewer_heads(config, before, hidden)
    _tokens_inside(config)


def _fewer_heads(config: dict[str, Any], before: int, hidden: int) -> None:
    """Scale the heads; the size of a head stays if it is not just the width shared out among the heads."""
    key = first(config, HEADS)
    if key is None:
        return
    heads = config[key]
    shared = before // heads
    stated = any(config.get(name, shared) not in (None, shared) for name in (*HEAD_DIMS, "qk_nope_head_dim"))
    fewer = min(max(min(LEAST_HEADS, heads), round(min(heads, 10**9) * hidden / before)), hidden)
    while not stated and hidden % (LEAST_HEAD * fewer):
        fewer -= 1
    for name in HEADS:
        if config.get(name) == heads:
            config[name] = fewer
    for name in KV_HEADS:
        if isinstance(own := config.get(name), int) and own > 0:
            config[name] = dividing(fewer, fewer * own // heads)
    for name in MORE_HEADS:
        if isinstance(own := config.get(name), int) and own > 0:
            config[name] = max(1, own * fewer // heads)
    if not stated:
        for name in HEAD_DIMS:
            if config.get(name) == shared:
                config[name] = hidden // fewer
        _smaller_rotation(config, shared, hidden // fewer)
    for name in HEAD_GROUPS:
        if isinstance(own := config.get(name), int) and own > fewer:
            config[name] = fewer
    for name, count_of in DERIVED.items():
        if isinstance(size := config.get(name), int) and isinstance(new := config.get(count_of), int):
            old = heads if count_of in HEADS else new * heads // fewer
            if size * old * hidden % (before * new) == 0:
                config[name] = size * old * hidden // (before * new)


def _smaller_rotation(config: dict[str, Any], before: int, after: int) -> None:
    """Fit the rotary embedding to another size of a head: LongRoPE has a factor for each two dimensions."""
    if isinstance(config.get("rotary_dim"), int):
        config["rotary_dim"] = min(config["rotary_dim"], after)
    for name in ("rope_scaling", "rope_parameters"):
        rope: Any = config.get(name)
        for factors in ("short_factor", "long_factor") if isinstance(rope, dict) else ():
            if isinstance(many := rope.get(factors), list) and many:
                fewer = max(1, len(many) * after // before)
                rope[factors] = [many[place * len(many) // fewer] for place in range(fewer)]


def dividing(whole: int, wanted: int) -> int:
    """Return the largest divisor of ``whole`` that is at most ``wanted``, and at least 1."""
    return next(part for part in range(max(1, min(wanted, whole)), 0, -1) if whole % part == 0)


def _tokens_inside(config: dict[str, Any]) -> None:
    """Bring special tokens into the smaller vocabulary; they have no text, so which ones they are is free."""
    vocabulary = config.get("vocab_size")
    if not isinstance(vocabulary, int):
        return
    for name, value in config.items():
        if name.endswith("_token_id") and isinstance(value, int):
            config[name] = min(value, vocabulary - 1)
        elif name.endswith("_token_id") and isinstance(value, list):
            config[name] = sorted({min(one, vocabulary - 1) for one in value})
