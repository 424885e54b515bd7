"""Records as JSON. Standard library only, because the worker uses this file too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

Json = Mapping[str, Any]


def plain(value: object) -> Json:
    """Return a record as a mapping of its fields, one level deep: the ``default`` of ``json.dumps``. Raises
    TypeError for what is no record."""
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return {one.name: getattr(value, one.name) for one in fields(value)}
