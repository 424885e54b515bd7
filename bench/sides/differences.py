"""What differs between two sides of a gate: config keys, packages and files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import yaml

from bench.config.spec import Spec
from bench.sides.layer import normal

# Blocks of a config that are not part of what is measured.
NOT_MEASURED = ("name", "gate", "build", "measure")
MISSING = "(none)"


@dataclass(frozen=True)
class Change:
    """Something that the sides have in different forms, by its name."""

    what: str
    base: str
    candidate: str


def of_configs(base: Spec, candidate: Spec) -> tuple[Change, ...]:
    """Return the keys of the config that differ, with their values."""
    ours, theirs = (dict(_flat(yaml.safe_load(one.expanded))) for one in (candidate, base))
    keys = sorted(ours.keys() | theirs.keys())
    found = (Change(key, theirs.get(key, MISSING), ours.get(key, MISSING)) for key in keys)
    return tuple(one for one in found if one.base != one.candidate)


def of_packages(base: Path, candidate: Path) -> tuple[Change, ...]:
    """Return the packages whose version differs between two environments, by their directories."""
    theirs, ours = packages(base), packages(candidate)
    names = sorted(ours.keys() | theirs.keys())
    found = (Change(name, theirs.get(name, MISSING), ours.get(name, MISSING)) for name in names)
    return tuple(one for one in found if one.base != one.candidate)


def packages(place: Path) -> dict[str, str]:
    """Return the version of every package in a directory, by its name as an index writes it."""
    return {normal(dist.name): dist.version for dist in distributions(path=[str(place)])}


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text) of every leaf. Variants go by their names, other lists as a whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif path == "variants" and isinstance(value, list):
        for inner in value:
            rest = {key: one for key, one in inner.items() if key != "name"}
            yield f"{path}.{inner['name']}", "there"
            yield from _flat(rest, f"{path}.{inner['name']}")
    else:
        yield path, json.dumps(value, ensure_ascii=False)
