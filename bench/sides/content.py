"""Say what a side is made of besides the files of its commit, so that equal sides have equal digests.

The evidence of a gate belongs to what is measured and not to the name of a commit: with another message, or
on another branch, the same files in the same environment are the same side.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from bench.models.disk_cache import hash_file
from bench.sides.packages import Package, packages_in
from bench.store.directories import walk
from bench.store.files import digest

# What an installation writes about itself: where it lies, and when it was made.
ABOUT = (".dist-info", ".egg-info", "__pycache__")


def content(source: Path, packages: Path, known: Collection[str], below: Collection[str]) -> str:
    """Return a digest of a side's packages and of the files in its checkout ``source`` that git does not
    know, because its build has made them. ``known`` are the files of the commit, ``below`` says what it sees
    below its own packages."""
    installed = sorted(map(_package, packages_in(packages)))
    made = sorted((name, hash_file(source / name)) for name in _files(source) if name not in known)
    return digest([sys.version, sorted(below), installed, made])


def _package(package: Package) -> tuple[str, str, list[list[str]]]:
    """Return the name, the version and the files of a package, with the digests that its RECORD has."""
    files = sorted(line[:2] for line in package.record() if line[0] and not _is_about(line[0]))
    return package.name, package.version, files


def _is_about(name: str) -> bool:
    """Return whether a file depends on the place of the environment: programs, and links to a checkout."""
    parts = Path(name).parts
    return (
        parts[0] == ".."
        or name.endswith(".pth")
        or parts[0].startswith("__editable__")
        or any(part.endswith(ABOUT) for part in parts)
    )


def _files(root: Path) -> Iterator[str]:
    for place, directories, files in walk(root):
        directories[:] = [one for one in directories if not one.endswith(ABOUT)]
        for name in files:
            path = place / name
            if name != ".git" and path.is_file() and not path.is_symlink():  # a submodule has such a file
                yield path.relative_to(root).as_posix()
