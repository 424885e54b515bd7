"""List what differs between two sides of a gate: config keys, packages and files."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bounded import MOST_POINTER, content_or_nothing, is_pointer
from bench.config.inputs import Input, inputs_of
from bench.config.spec import Spec
from bench.formatting import MIB, one_line, row_title, short_name
from bench.measure.models import further_models
from bench.models.disk_cache import file_sha256
from bench.models.reference import Named, Random
from bench.models.registry import find_model
from bench.records import Json
from bench.sides.packages import packages_in
from bench.sides.pins import origin
from bench.store.directories import files_below
from bench.store.files import digest

# Blocks of a config that are not part of what is measured.
NOT_MEASURED = ("name", "gate", "build", "measure")
MISSING = "(none)"
ATTRIBUTES = ".gitattributes"
MOST_NAMED = 5_000  # changed files that a journal names


@dataclass(frozen=True)
class Change:
    """Something that the sides have in different forms, by its name."""

    what: str
    base: str
    candidate: str


def of_configs(base: Spec, candidate: Spec) -> tuple[Change, ...]:
    """Return the keys of the config that differ, with their values."""
    of_base, of_candidate = (dict(flat(spec.content)) for spec in (base, candidate))
    keys = sorted(of_base.keys() | of_candidate.keys())
    changes = (Change(key, of_base.get(key, MISSING), of_candidate.get(key, MISSING)) for key in keys)
    return tuple(change for change in changes if change.base != change.candidate)


def of_packages(base: Path, candidate: Path) -> tuple[Change, ...]:
    """Return the packages whose version differs between two environments, by their directories."""
    of_base, of_candidate = identified(base), identified(candidate)
    names = sorted(of_base.keys() | of_candidate.keys())
    changes = (Change(name, of_base.get(name, MISSING), of_candidate.get(name, MISSING)) for name in names)
    return tuple(change for change in changes if change.base != change.candidate)


@dataclass(frozen=True)
class NamedFile:
    """A file that the config names and that differs between the sides: the row that reads it (empty for all
    rows), the key that names it, and the SHA-256 on each side."""

    row: str
    what: str
    base: str
    candidate: str


def of_inputs(base: Spec, candidate: Spec) -> tuple[NamedFile, ...]:
    """Return the files that both configs name under one key, and whose contents differ."""
    of_base, of_candidate = (_contents(spec) for spec in (base, candidate))
    return tuple(
        NamedFile(*key, of_base[key], of_candidate[key])
        for key in sorted(of_base.keys() & of_candidate.keys())
        if of_base[key] != of_candidate[key]
    )


def _named(spec: Spec) -> Iterator[Input]:
    """Yield every file that a config names, and the files in models/ that describe its models."""
    yield from inputs_of(spec)
    for group in spec.groups:
        for arm in group.arms:
            for key, model in (("model", arm.model), *further_models(arm)):
                if isinstance(model, Named | Random):
                    row = row_title(group.label, arm.name)
                    yield Input(row, key, find_model(model.name, model.within).file)


def _contents(spec: Spec) -> dict[tuple[str, str], str]:
    """Return a digest of the files that each key names."""
    by_key: dict[tuple[str, str], list[str]] = {}
    for file in _named(spec):
        by_key.setdefault((file.row, file.key), []).append(file_sha256(file.path))
    return {key: digest(parts) for key, parts in by_key.items()}


def named(files: Sequence[str]) -> Json:
    """Return the changed files as a journal keeps them: as many names as a line of it can hold, and how many
    more there are."""
    return {
        "files": [short_name(one) for one in files[:MOST_NAMED]],
        "more_files": max(len(files) - MOST_NAMED, 0),
    }


def pointers(root: Path) -> list[str]:
    """Return the files below ``root`` that are pointers of Git LFS, whose contents were not fetched."""
    files = list(files_below(root))
    attributes = (content_or_nothing(one, MIB, follow=False) for one in files if one.name == ATTRIBUTES)
    if not any(b"filter=lfs" in one for one in attributes):
        return []
    return sorted(one_line(str(one.relative_to(root))) for one in files if _is_pointer(one))


def _is_pointer(path: Path) -> bool:
    """Return whether there is a pointer; a link, which may lead anywhere, is none."""
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_POINTER:
        return False
    return is_pointer(path.read_bytes(), about.st_size)


def packages(place: Path) -> dict[str, str]:
    """Return the version of every package in a directory, by its name as an index writes it."""
    return {one.name: one.version for one in packages_in(place)}


def identified(place: Path) -> dict[str, str]:
    """Return the same, with the commit or the digest of a package that came from an address: its version
    stays while the branch there moves."""
    found = {}
    for one in packages_in(place):
        of_address = origin(one)
        found[one.name] = f"{one.version} ({of_address[:12]})" if of_address else one.version
    return found


def flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as text) of every leaf. Variants go by their names, other lists as a whole."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    elif path == "variants" and isinstance(value, list):
        for inner in value:
            rest = {key: one for key, one in inner.items() if key != "name"}
            yield f"{path}.{inner['name']}", "there"
            yield from flat(rest, f"{path}.{inner['name']}")
    else:
        yield path, json.dumps(value, ensure_ascii=False)
