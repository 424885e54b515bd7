"""Take the user's own directories out of what is recorded of a server.

A result is made to be shown to others. Where somebody keeps a cache, and what a home directory is called,
says nothing about the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import bench
from bench.models.disk_cache import cache_root


def without_places(value: Any) -> Any:
    """Return JSON whose texts name the cache as CACHE, the directory of this package as BENCH, and the home
    as ~."""
    return _replaced(value, _places())


def _places() -> tuple[tuple[str, str], ...]:
    """Return (directory, its name in a record); one that lies in another comes first."""
    found = [(str(cache_root()), "CACHE"), (str(Path(bench.__file__).parent.parent), "BENCH")]
    with suppress(RuntimeError):  # a user without a home directory
        found.append((str(Path.home()), "~"))
    return tuple((place, name) for place, name in found if place.rstrip("/"))


def _replaced(value: Any, places: tuple[tuple[str, str], ...]) -> Any:
    if isinstance(value, str):
        for place, name in places:  # and not in the name of a directory beside it
            value = name.join(re.split(rf"{re.escape(place)}(?![\w.-])", value))
        return value
    if isinstance(value, Mapping):
        return {key: _replaced(one, places) for key, one in value.items()}
    return [_replaced(one, places) for one in value] if isinstance(value, list | tuple) else value
