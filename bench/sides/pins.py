"""Resolve the packages of the candidate to the versions of the base, and find versions that no file fixes.

``requests>=2`` is another version next month, so two sides that are built on different days would differ by
more than the change. Where its own files allow it, the candidate therefore gets the versions that the base
has. Packages whose version nothing fixes are reported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from bench.bounded import content_or_nothing
from bench.sides.layer import normal
from bench.sides.packages import MOST_BYTES, Package, packages_in, table

MOST_FILES = 50  # of requirements that name each other
OF_VERSION_CONTROL = ("git+", "hg+", "svn+", "bzr+")
_OPTION = re.compile(r"\s(--|#).*$")
_FILE = re.compile(r"^(?:-r|--requirement|-c|--constraint)[ =]?\s*(\S+)")


def unpinned(project: Path, packages: Path, install: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the packages in the directory ``packages`` whose versions nothing fixes: neither a requirement
    with ``==``, of the project or of another package, nor a path or an address.

    ``install`` has the arguments of each ``pip install``.
    """
    installed = {one.name: one for one in packages_in(packages)}
    asked = [*declared(project, install), *_needed(installed.values())]
    fixed = {normal(requirement.name) for requirement in asked if _fixes(requirement)}
    return tuple(
        sorted(name for name, one in installed.items() if name not in fixed and not _of_a_place(one))
    )


def constraints(like: Mapping[str, str], project: Path, install: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a constraints file: the versions in ``like``, without those that the project's own
    requirements do not allow."""
    refused = {
        normal(wanted.name)
        for wanted in declared(project, install)
        if (version := like.get(normal(wanted.name)))
        and not wanted.specifier.contains(version, prereleases=True)
    }
    return [f"{name}=={version}" for name, version in sorted(like.items()) if name not in refused]


def declared(project: Path, install: Sequence[Sequence[str]]) -> Iterator[Requirement]:
    """Yield the requirements in the files that pip is given, in the arguments themselves, and in
    ``pyproject.toml``."""
    for arguments in install:
        for before, argument in zip(("", *arguments), arguments, strict=False):
            if before in ("-r", "--requirement", "-c", "--constraint"):
                yield from _in_file(project / argument, set())
            elif named := _FILE.match(argument):
                yield from _in_file(project / named[1], set())
            else:
                yield from _parsed(argument)
    listed = pyproject_table(project, "project").get("dependencies")
    for line in listed if isinstance(listed, list) else ():
        yield from _parsed(str(line))


def pyproject_table(project: Path, *names: str) -> Mapping[str, Any]:
    """Return a table of a project's ``pyproject.toml``, such as ``tool.uv``. It is empty if the file does not
    have it, or cannot be read."""
    try:
        table: Any = tomllib.loads(declaring(project / "pyproject.toml"))
    except (ValueError, RecursionError):  # a number of 5,000 digits is another ValueError than bad TOML
        return {}
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def declaring(file: Path) -> str:
    """Return the text of a file in which a commit declares packages. A commit may put a link to anything in
    its place: what is no regular file, or has more than 16 MiB, declares nothing."""
    return content_or_nothing(file, MOST_BYTES).decode(errors="replace")


def _in_file(file: Path, seen: set[Path]) -> Iterator[Requirement]:
    """Yield the requirements of a file, and of the files that it names."""
    if file in seen or len(seen) >= MOST_FILES:
        return
    seen.add(file)
    for line in declaring(file).replace("\\\n", " ").splitlines():
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


def _needed(packages: Iterable[Package]) -> Iterator[Requirement]:
    for package in packages:
        for line in package.needs:
            yield from _parsed(line)


def _fixes(requirement: Requirement) -> bool:
    """Return whether a requirement allows a single version only, or names an address that is no branch."""
    exact = (part for part in requirement.specifier if part.operator in ("==", "==="))
    if requirement.url is not None:
        return not requirement.url.startswith(OF_VERSION_CONTROL)
    return any(not part.version.endswith("*") for part in exact)


def origin(package: Package) -> str:
    """Return the commit of a package that came from version control, or the SHA-256 of one that came from an
    archive at an address; '' for any other."""
    about = package.address()
    commit = table(about, "vcs_info").get("commit_id")
    return str(commit or table(about, "archive_info", "hashes").get("sha256") or "")


def _of_a_place(package: Package) -> bool:
    """Return whether a package is the project itself, or came from a path or an address that does not move: a
    branch does, but a commit does not."""
    about = package.address()
    if "vcs_info" not in about:
        return bool(about)
    asked = str(table(about, "vcs_info").get("requested_revision") or "HEAD")
    return origin(package).startswith(asked)
