"""Provide the packages that the tool itself brings, the engines; both sides see them below their own.

A side's environment has what its own commit declares. Everything else that a worker needs (torch,
transformers and what they need) comes from the installation of this tool, and from nowhere else: a package
that happens to be installed beside it, such as the user's own, is not visible. So neither side can borrow
from the other.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from bench.machine.package_places import OURS
from bench.models.cache_lock import locked
from bench.models.disk_cache import cache_root
from bench.store.directories import delete

TOOL = "inference-cost-bench"
NOT_FOR_WORKERS = frozenset({"test", "docs"})
COMPLETE = "complete"


def layer() -> Path:
    """Return the directory that shows the tool's packages by links; it is made if it does not exist yet."""
    found = sorted(_closure().items())
    known = [(name, dist.version, str(dist.locate_file(""))) for name, dist in found]
    digest = hashlib.sha256(json.dumps([sys.version, known]).encode()).hexdigest()[:16]
    home = cache_root() / "layers" / digest
    with locked("keep the packages of this tool", home):
        if not (home / COMPLETE).is_file():
            delete(home)
            home.mkdir()
            _link(home, dict(found))
            (home / COMPLETE).touch()
    return home


def normal(name: str) -> str:
    """Return a package's name as the index writes it: lower case, with dashes."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _closure() -> dict[str, Distribution]:
    """Return the installed packages that the tool needs, with all its extras, and what those need."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    root = _installed(TOOL)
    extras = (
        frozenset(root.metadata.get_all("Provides-Extra") or ()) - NOT_FOR_WORKERS if root else frozenset()
    )
    waiting = [(TOOL, extras)] if root else list(_needed_by_a_checkout())
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen or (dist := _installed(name)) is None:
            continue
        seen.add((name, wanted))
        if name != TOOL:
            found[name] = dist
        waiting += list(_needed(dist, wanted))
    return found


def _needed_by_a_checkout() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what the project file of this checkout asks for: the tool may run from it and not be
    installed, and find its packages on ``PYTHONPATH``."""
    file = Path(OURS) / "pyproject.toml"
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"] if file.is_file() else {}
    extras = project.get("optional-dependencies", {})
    lines = [line for extra in sorted(set(extras) - NOT_FOR_WORKERS) for line in extras[extra]]
    for one in map(Requirement, (*project.get("dependencies", ()), *lines)):
        yield normal(one.name), frozenset(one.extras)


def _needed(dist: Distribution, extras: Iterable[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for line in dist.requires or ():
        try:
            one = Requirement(line)
        except InvalidRequirement:
            continue  # metadata of another age: pip would not follow it either
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield normal(one.name), frozenset(one.extras)


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _link(home: Path, dists: Mapping[str, Distribution]) -> None:
    """Link every package into ``home``. A directory that several packages share is made, and its parts are
    linked."""
    owners: dict[str, dict[str, Distribution]] = defaultdict(dict)
    parts: dict[str, list[tuple[str, ...]]] = {}
    for name, dist in dists.items():
        parts[name] = [path for path in map(_parts, _recorded(dist)) if path]
        for path in parts[name]:
            owners[path[0]][name] = dist
    for top, ours in owners.items():
        _link_one((top,), home, ours, parts)


def _link_one(
    place: tuple[str, ...], home: Path, ours: dict[str, Distribution], parts: dict[str, list[tuple[str, ...]]]
) -> None:
    """Link one file or directory, or its parts if several packages have files in it."""
    source = Path(str(next(iter(ours.values())).locate_file("/".join(place))))
    target = home.joinpath(*place)
    if len(ours) == 1 or not source.is_dir():
        if not target.is_symlink():
            target.symlink_to(source)
        return
    target.mkdir()
    inner: dict[str, dict[str, Distribution]] = defaultdict(dict)
    depth = len(place)
    for name, dist in ours.items():
        for path in parts[name]:
            if path[:depth] == place and len(path) > depth:
                inner[path[depth]][name] = dist
    for part, theirs in inner.items():
        _link_one((*place, part), home, theirs, parts)


def _recorded(dist: Distribution) -> Iterator[str]:
    """Yield the files of a package as its RECORD names them; an editable package has next to none."""
    for line in csv.reader((dist.read_text("RECORD") or "").splitlines()):
        if line:
            yield line[0]


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a file's path below site-packages; none for what is outside, or for one place."""
    parts = tuple(name.split("/"))
    outside = parts[0] in ("..", "") or "__pycache__" in parts or name.endswith(".pth")
    return () if outside else parts
