"""Resolve the packages of the candidate to the versions of the base, and find versions that no file fixes.

``requests>=2`` is another version next month, so two sides that are built on different days would differ by
more than the change. Where its own files allow it, the candidate therefore gets the versions that the base
has. Packages whose version nothing fixes are reported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from bench.bounded import content_or_nothing
from bench.formatting import MIB
from bench.sides.layer import normal
from bench.sides.packages import Package, packages_in, table

MOST_FILES = 50  # of requirements that name each other
MOST_DECLARED = 4 * MIB  # of a file in which a commit declares packages, and of those that name each other
# To parse a requirement takes a time that grows with the square of its length; a number of 4,300 digits, or
# markers in a thousand brackets, are errors of their own kinds.
MOST_LETTERS, MOST_REQUIREMENTS = 1000, 20_000
MOST_TOML, MOST_DOTS = MIB, 300  # a key of many parts takes a time that grows with their square, too
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
        yield from _parsed(_lines(arguments, project))
    listed = pyproject_table(project, "project").get("dependencies")
    yield from _parsed(map(str, listed if isinstance(listed, list) else ()))


def pyproject_table(project: Path, *names: str) -> Mapping[str, Any]:
    """Return a table of a project's ``pyproject.toml``, such as ``tool.uv``. It is empty if the file does not
    have it, or cannot be read."""
    text = declaring(project / "pyproject.toml")
    if len(text) > MOST_TOML or any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        return {}
    try:
        table: Any = tomllib.loads(text)
    except (ValueError, RecursionError):  # a number of 5,000 digits is another ValueError than bad TOML
        return {}
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else {}


def declaring(file: Path) -> str:
    """Return the text of a file in which a commit declares packages. A commit may put a link to anything in
    its place: what is no regular file, or has more than 4 MiB, declares nothing."""
    return content_or_nothing(file, MOST_DECLARED).decode(errors="replace")


def _lines(arguments: Sequence[str], project: Path) -> Iterator[str]:
    """Yield what a ``pip install`` is given, with the lines of a file in the place of its name."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        if before in ("-r", "--requirement", "-c", "--constraint"):
            yield from _lines_of(project / argument, {})
        elif named := _FILE.match(argument):
            yield from _lines_of(project / named[1], {})
        else:
            yield argument


def _lines_of(file: Path, seen: dict[Path, int]) -> Iterator[str]:
    """Yield the lines of a file, and of the files that it names. ``seen`` has the lengths of those before."""
    if file in seen or len(seen) >= MOST_FILES or sum(seen.values()) >= MOST_DECLARED:
        return
    text = declaring(file)
    seen[file] = len(text)
    for line in text.replace("\\\n", " ").splitlines():
        if named := _FILE.match(line.strip()):
            yield from _lines_of(file.parent / named[1], seen)
        else:
            yield line


def _parsed(lines: Iterable[str]) -> Iterator[Requirement]:
    """Yield the requirements among some lines; nothing for an option, a path or a comment, and nothing for
    what is longer than any requirement."""
    bare = (_OPTION.sub("", line).strip() for line in lines)
    likely = (one for one in bare if len(one) <= MOST_LETTERS and one[:1].isalnum())
    for one in islice(likely, MOST_REQUIREMENTS):
        try:
            yield Requirement(one)
        except (InvalidRequirement, RecursionError):
            continue


def _needed(packages: Iterable[Package]) -> Iterator[Requirement]:
    return _parsed(line for package in packages for line in package.needs)


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
