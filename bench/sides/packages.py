"""The packages of a side, by what their installers have noted. A commit's build may leave anything there."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from bench.bounded import content_or_nothing
from bench.formatting import MIB
from bench.records.json_form import Json

ABOUT = (".dist-info", ".egg-info")
MOST_BYTES = 16 * MIB  # of a file that says something of a package
MOST_NAME = 200  # letters of a name, and of a version: results keep both


@dataclass(frozen=True)
class Package:
    """A package: its name as the index writes it, its version, what it needs, and the place of its notes."""

    name: str
    version: str
    needs: tuple[str, ...]
    about: Path

    def record(self) -> list[list[str]]:
        """Return the lines of the list of its files; one that is no CSV is a line of one value."""
        lines = _text(self.about / "RECORD").splitlines()
        try:
            return [line for line in csv.reader(lines) if line]
        except csv.Error:
            return [[line] for line in lines]

    def address(self) -> Json:
        """Return what an installer noted of where it came from (PEP 610); nothing for an index."""
        try:
            found = json.loads(_text(self.about / "direct_url.json") or "{}")
        except (ValueError, RecursionError):
            return {}
        return table(found)


def table(found: Any, *names: str) -> Json:
    """Return an object within JSON by its names; it is empty if there is none."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def packages_in(place: Path) -> Iterator[Package]:
    """Yield the packages in a directory, in the order of their names there. What has no name and no version
    that an index would take is none: an installation that broke off leaves such directories, and pip does not
    look at them either."""
    for about in sorted(one for one in place.glob("*.*-info") if one.suffix in ABOUT):
        notes = (about / "METADATA", about / "PKG-INFO", about)
        said = BytesHeaderParser().parsebytes(next(filter(None, map(_content, notes)), b""))
        try:
            name = canonicalize_name(str(said["Name"] or "").strip(), validate=True)
            version = str(said["Version"] or "").strip()
            if max(len(name), len(version)) > MOST_NAME:
                continue
            Version(version)
        except ValueError:  # a bad name, a bad version, or a number of 5,000 digits in a version
            continue
        needs = [*map(str, said.get_all("Requires-Dist", ())), *_text(about / "requires.txt").splitlines()]
        yield Package(name, version, tuple(needs), about)


def _content(file: Path) -> bytes:
    return content_or_nothing(file, MOST_BYTES)


def _text(file: Path) -> str:
    return _content(file).decode(errors="backslashreplace")
