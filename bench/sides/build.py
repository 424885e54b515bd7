"""A side's environment: made from what its own commit declares, and kept by the digest of all that.

The project is the nearest directory above the config that has a lock file, requirements or a package. The
config's ``build`` block says otherwise where that is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import filelock

from bench.config.blocks import BuildBlock
from bench.errors import BenchError, UsageError
from bench.models.cache import cache_root
from bench.sides.commands import PIP, BuildFailed, Runner, own_pip
from bench.sides.differences import packages
from bench.sides.layer import layer
from bench.sides.pins import constraints, declaring, unpinned
from bench.sides.repository import Commit, Repository
from bench.store import tree

COMPLETE = "complete"
RESOLVED = "resolved.json"
RECIPE = 2  # what was built by an older one is built again
LISTS = ("requirements.lock", "requirements.txt")
MARKS = ("uv.lock", *LISTS, "pyproject.toml", "setup.py", "setup.cfg")
# A requirements file that installs the project itself, such as "-e ." or ".[extra]".
ITSELF = re.compile(r"^\s*(-e\s+|--editable[ =])?(file:)?\./?(\[[^\]]*\])?\s*(#.*)?$")


@dataclass(frozen=True)
class Built:
    """A side on this disk: the checkout, the project in it, and the interpreter of its environment.

    ``unpinned`` are its packages whose versions no file of the commit fixes. ``anew`` says that they could
    not be those of the base.
    """

    home: Path
    source: Path
    project: Path
    unpinned: tuple[str, ...] = ()
    anew: bool = False

    @property
    def python(self) -> Path:
        """Return the interpreter of the environment."""
        return self.home / "venv" / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Return the directory of the environment's own packages."""
        return next((self.home / "venv" / "lib").glob("python3.*/site-packages"))

    @property
    def open_versions(self) -> dict[str, str]:
        """Return the versions of the packages that nothing fixes."""
        found = packages(self.packages)
        return {name: found[name] for name in self.unpinned if name in found}


def build(
    repository: Repository,
    commit: Commit,
    inside: Path,
    block: BuildBlock,
    say: Callable[[str], None],
    like: Mapping[str, str] | None = None,
    check: Callable[[Path], object] | None = None,
) -> Built:
    """Return a side that is ready to be measured, making what does not exist yet.

    ``inside`` is the directory of the config within the repository. ``like`` has the versions that packages
    without a pin get, where the commit allows them. ``check`` looks at the files before anything is installed
    and may raise. Raises BuildFailed with the last lines of the command that failed.
    """
    given = sorted((k, v) for k, v in os.environ.items() if k.startswith(PIP))
    made_from: list[object] = [
        RECIPE, commit.commit, str(inside), block.model_dump(mode="json"), sys.version, str(layer()), given,
    ]  # fmt: skip
    alone, home = _home(made_from), _home([*made_from, sorted((like or {}).items())])
    alone.parent.mkdir(parents=True, exist_ok=True)
    project = _project(repository, commit, inside, block)
    if like and not (home / COMPLETE).is_file() and _has(alone, like):
        home = alone  # by itself it came to the same versions
    home = home if like else alone
    with filelock.FileLock(f"{home}.lock"):
        built = Built(home, home / "source", home / "source" / project)
        if not (home / COMPLETE).is_file():
            say(f"build {commit.label}")
            _build_anew(built, repository, commit, block, like or {}, check)
        known = json.loads((home / RESOLVED).read_text())
    return replace(built, unpinned=tuple(known["unpinned"]), anew=known["anew"])


def _build_anew(
    built: Built,
    repository: Repository,
    commit: Commit,
    block: BuildBlock,
    like: Mapping[str, str],
    check: Callable[[Path], object] | None,
) -> None:
    """Make a side in its home, in the place of what is there. Only a whole one is marked as complete."""
    repository.remove(built.source)
    shutil.rmtree(built.home, ignore_errors=True)
    built.home.mkdir(mode=0o700)  # what it holds is as private as the repository
    try:
        _check_out(repository, commit, built.source)
        if check:
            check(built.source)
        found = _make(built, block, commit.label, like)
    finally:
        repository.let_go(built.source)
    (built.home / RESOLVED).write_text(json.dumps({"unpinned": found.unpinned, "anew": found.anew}))
    tree.write_manifest(built.source, built.home / tree.MANIFEST)
    (built.home / COMPLETE).touch()


def _check_out(repository: Repository, commit: Commit, to: Path) -> None:
    """Write the files of a commit. Raises BuildFailed, for example if a submodule cannot be fetched."""
    try:
        repository.check_out(commit, to)
    except BenchError as bad:
        raise BuildFailed(f"cannot check out {commit.label}: {bad}") from None


def _home(made_from: list[object]) -> Path:
    return cache_root() / "sides" / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]


def _has(home: Path, like: Mapping[str, str]) -> bool:
    """Return whether a side that is there has these versions, of the packages among them that it has."""
    if not (home / COMPLETE).is_file():
        return False
    found = packages(Built(home, home, home).packages)
    return all(found.get(name, version) == version for name, version in like.items())


def _project(repository: Repository, commit: Commit, inside: Path, block: BuildBlock) -> Path:
    """Return the project's directory within the repository; the config's own if nothing is declared."""
    if block.directory is not None:
        return Path(block.directory)
    files = set(repository.files(commit))
    for place in (inside, *inside.parents):
        if any((place / mark).as_posix() in files for mark in MARKS):
            return place
    return inside


def _make(built: Built, block: BuildBlock, label: str, like: Mapping[str, str]) -> Built:
    """Make the environment and install into it, with this tool's pip: no side needs its own."""
    if not built.project.is_dir() or not built.project.resolve().is_relative_to(built.source.resolve()):
        where = built.project.relative_to(built.source)
        raise UsageError(f"build.directory: there is no {where} in this commit")
    run = Runner(built.home / "build.log", built.project, built.python, label)
    pip = own_pip(built.python)
    bare = ["--without-pip"] if pip else []
    run([sys.executable, "-I", "-m", "venv", *bare, str(built.home / "venv")], "an environment")
    below = [str(layer())] if block.inherit == "tool" else _site_packages() if block.inherit == "all" else []
    (built.packages / "below-by-bench.pth").write_text("\n".join(below) + "\n")
    for command in block.commands:
        run(["/bin/sh", "-c", command], f"build.commands: `{command}`")
    pip = pip or [str(built.python), "-I", "-m", "pip"]
    install = [*pip, "--disable-pip-version-check", "install", "--progress-bar", "off"]
    asked = _pip_arguments(built.project, block)
    anew = _pip(run, install, asked, _constraints_file(built, asked, like))
    if _uses_uv(built.project, block):
        run(_uv(built.project), "`uv sync`")
        return replace(built, anew=anew)  # a lock file fixes everything
    return replace(built, unpinned=unpinned(built.project, built.packages, asked), anew=anew)


def _constraints_file(built: Built, asked: list[list[str]], like: Mapping[str, str]) -> Path | None:
    lines = constraints(like, built.project, asked)
    if not lines:
        return None
    file = built.home / "constraints.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def _pip(run: Runner, install: list[str], asked: list[list[str]], file: Path | None) -> bool:
    """Install everything, and return whether that was possible only without the constraints: what a package
    newly asks for may not go with what the base has."""
    for number, arguments in enumerate(asked):
        what = f"`pip install {' '.join(arguments)}`"
        try:
            run([*install, *arguments, *(["-c", str(file)] if file else [])], what)
        except BuildFailed as bad:
            if file is None or bad.late:
                raise
            _pip(run, install, asked[number:], None)
            return True
    return False


def _uses_uv(project: Path, block: BuildBlock) -> bool:
    """Return whether uv installs what a lock file says. Raises UsageError if it should, and there is none."""
    locked = (project / "uv.lock").is_file()
    if block.tool == "uv" and block.install is None and not locked:
        raise UsageError("build.tool: uv installs what a uv.lock says, and this project has none")
    return block.install is None and block.tool != "pip" and locked


def _pip_arguments(project: Path, block: BuildBlock) -> list[list[str]]:
    """Return the arguments of each `pip install`: what the project declares, then the project itself. There
    are none for a project that declares nothing."""
    if block.install is not None:
        return [list(block.install)] if block.install else []
    if _uses_uv(project, block):
        return []
    listed = next((name for name in LISTS if (project / name).is_file()), None)
    found = [["-r", listed]] if listed else []
    names_itself = listed and any(map(ITSELF.match, declaring(project / listed).splitlines()))
    if _is_package(project) and not names_itself:
        found.append(["."])
    return found


def _uv(project: Path) -> list[str]:
    uv = shutil.which("uv")
    if uv is None:
        raise UsageError(
            f"{project.name}/uv.lock: uv is not installed (pip install uv, or build: {{tool: pip}})"
        )
    return [uv, "sync", "--frozen", "--no-dev", "--inexact"]


def _is_package(project: Path) -> bool:
    if any((project / name).is_file() for name in ("setup.py", "setup.cfg")):
        return True
    return bool(re.search(r"^\[(build-system|project)\]", declaring(project / "pyproject.toml"), re.M))


def _site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
