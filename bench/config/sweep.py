"""Expand a sweep into cells: every combination of its values, with a label and what it changes."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from bench.store.values import MOST_NAME
from bench.yaml_source import KeyPath, YamlSource

MAX_CELLS = 1000
WHOLE = "workload"  # a key of a sweep whose values are blocks
HomeT = TypeVar("HomeT", bound=Hashable)


def cells(
    source: YamlSource, sweep: object, homes: Mapping[str, HomeT], path: KeyPath = ("sweep",)
) -> list[tuple[str, Mapping[HomeT, Mapping[str, Any]]]]:
    """Return (label, overlay) of every combination in ``sweep``, which stands at ``path``; ``homes`` says
    where each key belongs, such as its block."""
    if not isinstance(sweep, dict):
        raise source.error(path, "must be a block of lists, such as {batch_size: [1, 4, 8]}")
    count = 1
    for key, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise source.error((*path, key), "must be a list with at least one value")
        if key == WHOLE and not all(isinstance(value, dict) and value for value in values):
            raise source.error((*path, key), "must be a list of blocks, such as [{name: offline}]")
        if len({json.dumps(value, sort_keys=True, default=str) for value in values}) < len(values):
            raise source.error((*path, key), "a value is given twice", "keep one of them")
        count *= len(values)
    if count > MAX_CELLS:
        raise source.error(path, f"{count} combinations are over the limit of {MAX_CELLS}")
    found: list[tuple[str, Mapping[HomeT, Mapping[str, Any]]]] = []
    for combination in itertools.product(*sweep.values()):
        chosen = dict(zip(sweep, combination, strict=True))
        overlay: dict[HomeT, dict[str, Any]] = {}
        for key, value in chosen.items():
            overlay.setdefault(homes[key], {}).update(value if key == WHOLE else {key: value})
        label = " ".join(_label(key, value) for key, value in chosen.items())
        if len(label) > MOST_NAME:
            problem = f"a combination needs a name of at most {MOST_NAME} characters"
            raise source.error(path, f"{problem}, not {label[:60]!r} ({len(label)})")
        found.append((label, overlay))
    return found


def _label(key: str, value: object) -> str:
    """Return what names a cell: ``users=4``, or a workload by its own name and settings. A text is quoted
    where it could be read as something else: ``file="p q"``."""
    if key != WHOLE or not isinstance(value, dict):
        return f"{key}={_shown(value)}"
    return " ".join(_shown(one) if name == "name" else f"{name}={_shown(one)}" for name, one in value.items())


def _shown(value: object) -> str:
    """Return a value as it stands in a label."""
    if isinstance(value, str) and (not value or not value.isprintable() or re.search(r"[\s\"'=]", value)):
        return json.dumps(value)
    return str(value)
