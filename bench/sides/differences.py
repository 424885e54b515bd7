"""What differs between two sides of a gate: config keys, packages and files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.config.spec import Spec
from bench.errors import BenchError
from bench.sides.children import environment, last_lines

# Blocks of a config that are not part of what is measured.
NOT_MEASURED = ("name", "gate", "build", "measure")
MISSING = "(none)"
LIST_S = 120
_LIST = """
import importlib.metadata as m, json, sys
found = {}
for d in m.distributions(path=[sys.argv[1]]):
    found[(d.metadata["Name"] or "?").lower()] = d.version or "?"
print(json.dumps(found))
"""


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


def measured(change: Change) -> bool:
    """Return whether a key of the config is part of what is measured."""
    return change.what.split(".")[0] not in NOT_MEASURED


def of_packages(base: Path, candidate: Path) -> tuple[Change, ...]:
    """Return the packages whose version differs between two environments, by their interpreters."""
    theirs, ours = packages(base), packages(candidate)
    names = sorted(ours.keys() | theirs.keys())
    found = (Change(name, theirs.get(name, MISSING), ours.get(name, MISSING)) for name in names)
    return tuple(one for one in found if one.base != one.candidate)


def packages(python: Path) -> Mapping[str, str]:
    """Return the version of every package that an environment has of its own."""
    place = next((python.parent.parent / "lib").glob("python3.*/site-packages"))
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _LIST, str(place)], capture_output=True, text=True, timeout=LIST_S,
            check=True, env=environment(), stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as bad:
        raise BenchError(f"cannot list the packages of {python}: {last_lines(bad)}") from None
    found: Mapping[str, str] = json.loads(done.stdout)
    return found


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
