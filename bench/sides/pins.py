"""What the packages of a side were resolved to, and which of their versions no file of its commit fixes.

``requests>=2`` is another version next month. Two sides that are built on different days would then differ by
more than the change. So the candidate is resolved with the versions that the base has, where its own files
allow it, and what is not fixed is said.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from bench.sides.layer import normal

MOST_FILES = 50  # of requirements that name each other
_OPTION = re.compile(r"\s+(--|#).*$")
_FILE = re.compile(r"^(?:-r|--requirement|-c|--constraint)[ =]?\s*(\S+)")


def unpinned(project: Path, packages: Path, install: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the packages in the directory ``packages`` whose versions nothing fixes: neither a requirement
    with ``==``, of the project or of another package, nor a path or an address.

    ``install`` has the arguments of each ``pip install``.
    """
    installed = {normal(dist.name): dist for dist in distributions(path=[str(packages)])}
    asked = [*declared(project, install), *_needed(installed.values())]
    fixed = {normal(one.name) for one in asked if _fixes(one)}
    return tuple(
        sorted(name for name, dist in installed.items() if name not in fixed and not _of_a_place(dist))
    )


def constraints(like: Mapping[str, str], project: Path, install: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a constraints file: the versions in ``like``, without those that the project's own
    requirements do not allow."""
    refused = {
        normal(one.name)
        for one in declared(project, install)
        if (version := like.get(normal(one.name))) and not one.specifier.contains(version, prereleases=True)
    }
    return [f"{name}=={version}" for name, version in sorted(like.items()) if name not in refused]


def declared(project: Path, install: Sequence[Sequence[str]]) -> Iterator[Requirement]:
    """Yield the requirements in the files that pip is given, in the arguments themselves, and in
    ``pyproject.toml``."""
    for arguments in install:
        for before, one in zip(("", *arguments), arguments, strict=False):
            if before in ("-r", "--requirement", "-c", "--constraint"):
                yield from _in_file(project / one, set())
            elif named := _FILE.match(one):
                yield from _in_file(project / named[1], set())
            else:
                yield from _parsed(one)
    try:
        found = tomllib.loads((project / "pyproject.toml").read_text(errors="replace"))
    except (OSError, tomllib.TOMLDecodeError):
        return
    listed = found.get("project", {}).get("dependencies", ())
    for line in listed if isinstance(listed, list) else ():
        yield from _parsed(str(line))


def _in_file(file: Path, seen: set[Path]) -> Iterator[Requirement]:
    """Yield the requirements of a file and of those that it names."""
    if file in seen or len(seen) >= MOST_FILES or not file.is_file():
        return
    seen.add(file)
    for line in file.read_text(errors="replace").replace("\\\n", " ").splitlines():
        if named := _FILE.match(line.strip()):
            yield from _in_file(file.parent / named[1], seen)
        else:
            yield from _parsed(line)


def _parsed(line: str) -> Iterator[Requirement]:
    """Yield the requirement of a line; nothing for an option, a path or a comment."""
    try:
        yield Requirement(_OPTION.sub("", line).strip())
    except InvalidRequirement:
        return


def _needed(dists: Iterable[Distribution]) -> Iterator[Requirement]:
    for dist in dists:
        for line in dist.requires or ():
            yield from _parsed(line)


def _fixes(one: Requirement) -> bool:
    exact = (part for part in one.specifier if part.operator in ("==", "==="))
    return one.url is not None or any(not part.version.endswith("*") for part in exact)


def _of_a_place(dist: Distribution) -> bool:
    """Return whether a package is the project itself, or came from a path or an address."""
    return dist.read_text("direct_url.json") is not None
