"""Write records as JSON. This module uses only the standard library, because the worker imports it too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

Json = Mapping[str, Any]


def plain(value: object) -> Json:
    """Return a record as a mapping of its fields, one level deep.

    This is meant as the ``default`` of ``json.dumps``, which calls it again for nested records. Raises
    TypeError for anything that is not a dataclass instance.
    """
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return {field.name: getattr(value, field.name) for field in fields(value)}
