"""Find what a project declares, and which commands install that: a lock file, requirements, or a package."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from bench.config.settings import BuildBlock
from bench.errors import UsageError
from bench.machine.children import program_called
from bench.sides.pins import declaring, pyproject_table

UV_LOCK = "uv.lock"
LISTS = ("requirements.lock", "requirements.txt")
MOST_LEVELS = (
    20  # between a project and its workspace: a commit may have a thousand, with a large file in each
)
MARKS = (UV_LOCK, *LISTS, "pyproject.toml", "setup.py", "setup.cfg")
# Lock files of other tools. Nothing here reads them, so a change of one of them is not measured.
OTHER_LOCKS = (
    "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "pixi.lock", "conda-lock.yml",
    "environment.yml", "environment.yaml",
)  # fmt: skip
AWAY = re.compile(r"-t|--(target|prefix|root|python|user|dry-run)(=|$)")
# A requirements file that installs the project itself, such as "-e ." or ".[extra]".
ITSELF = re.compile(r"^\s*(-e\s+|--editable[ =])?(file:)?\./?(\[[^\]]*\])?\s*(#.*)?$")


def project_of(files: Collection[str], inside: Path, block: BuildBlock) -> Path:
    """Return the project's directory within a repository of these files: the nearest above the directory
    ``inside`` that declares something, or ``inside`` if none does."""
    if block.directory is not None:
        return Path(block.directory)
    for place in (inside, *inside.parents):
        if any((place / mark).as_posix() in files for mark in MARKS):
            return place
    return inside


def pip_arguments(project: Path, source: Path, block: BuildBlock) -> list[list[str]]:
    """Return the arguments of each `pip install`: what the project declares, then the project itself. There
    are none for a project that declares nothing, or that uv installs."""
    if block.install is not None:
        _must_install_here(block.install)
        return [list(block.install)] if block.install else []
    if uses_uv(project, source, block):
        return []
    listed = _list_of(project)
    found = [["-r", listed]] if listed else []
    names_itself = listed and any(map(ITSELF.match, declaring(project / listed).splitlines()))
    if _is_package(project) and not names_itself:
        found.append(["."])
    return found


def _must_install_here(arguments: Sequence[str]) -> None:
    """Raise UsageError for what leads pip away from the side's environment, as its variables could
    (``commands.ELSEWHERE``): both sides would be installed into one place, or nothing into either."""
    if found := next(filter(AWAY.match, arguments), None):
        raise UsageError(f"build.install: {found} installs somewhere else than in the environment of a side")


def uses_uv(project: Path, source: Path, block: BuildBlock) -> bool:
    """Return whether uv installs the project: it has a uv.lock, or it is a member of a workspace that has
    one, somewhere above it in the checkout ``source``. Raises UsageError if uv is asked for without a lock
    file."""
    if block.install is not None or block.tool == "pip":
        return False
    locked = (project / UV_LOCK).is_file() or _in_workspace(project, source)
    if block.tool == "uv" and not locked:
        raise UsageError(f"build.tool: uv installs what a {UV_LOCK} says, and this project has none")
    return locked


def _in_workspace(project: Path, source: Path) -> bool:
    if _list_of(project) or not (project / "pyproject.toml").is_file():
        return False
    above = [place for place in project.parents if place.is_relative_to(source)][:MOST_LEVELS]
    return any(
        (place / UV_LOCK).is_file() and "workspace" in pyproject_table(place, "tool", "uv") for place in above
    )


def uv_command(project: Path) -> list[str]:
    """Return the command that installs what a uv.lock says. Raises UsageError without uv."""
    uv = program_called("uv")
    if uv is None:
        raise UsageError(
            f"{project.name}/{UV_LOCK}: uv is not installed (pip install uv, or build: {{tool: pip}})"
        )
    return [uv, "sync", "--frozen", "--no-dev", "--inexact"]


def unread_locks(project: Path, changed: Collection[str], source: Path, block: BuildBlock) -> list[str]:
    """Return those of the ``changed`` files that lock the project's packages for a tool that does not install
    them here. If the config says how to install, or there are requirements too, there are none."""
    if block.install is not None or block.commands or _list_of(project) or uses_uv(project, source, block):
        return []
    inside = PurePosixPath(project.relative_to(source).as_posix())
    return sorted({str(inside / name) for name in OTHER_LOCKS} & set(changed))


def _list_of(project: Path) -> str | None:
    return next((name for name in LISTS if (project / name).is_file()), None)


def _is_package(project: Path) -> bool:
    if any((project / name).is_file() for name in ("setup.py", "setup.cfg")):
        return True
    return bool(re.search(r"^\[(build-system|project)\]", declaring(project / "pyproject.toml"), re.M))
