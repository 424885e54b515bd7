"""Lay one block of a config on another: a variant on its file, a cell of a sweep on both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench import plugins
from bench.config.settings import RuntimeBlock, WorkloadBlock

Raw = Mapping[str, Any]


def merged(base: Raw, over: Raw) -> Raw:
    """Lay ``over`` on ``base`` block by block, because a variant gives only what differs.

    A model or a list is replaced as a whole.
    """
    result = dict(base)
    for key, value in over.items():
        if key in ("runtime", "workload") and isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = {**_inherited(key, result[key], value), **value}
        else:
            result[key] = value
    return result


def _inherited(key: str, base: Raw, over: Raw) -> Raw:
    """Return what a variant takes over of a block. Another engine, or another kind of workload, does not take
    what only the first one has, nor what it does not use."""
    name = over.get("name", base.get("name"))
    if name == base.get("name") or name not in plugins.names(f"{key}s"):
        return base
    common = RuntimeBlock.model_fields if key == "runtime" else WorkloadBlock.model_fields
    uses = getattr(plugins.load(f"{key}s", str(name)), "USES", tuple(common))
    return {one: value for one, value in base.items() if one in uses}
