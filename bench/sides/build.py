"""Build a side's environment from what its own commit declares, and keep it by the digest of all that.

The project is the nearest directory above the config that has a lock file, requirements or a package. The
config's ``build`` block says otherwise where that is wrong.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.config.settings import BuildBlock
from bench.environments import installed_beside
from bench.errors import BenchError, UsageError
from bench.machine.package_places import inherited_places
from bench.models.cache_lock import locked
from bench.models.disk_cache import cache_root
from bench.sides.commands import BuildFailed, Runner, made_by, own_pip
from bench.sides.content import content
from bench.sides.declared import pip_arguments, project_of, uses_uv, uv_command
from bench.sides.differences import packages
from bench.sides.layer import layer
from bench.sides.pins import constraints, unpinned
from bench.sides.repository import Commit, Repository
from bench.store import tree
from bench.store.directories import delete
from bench.store.run_lock import sides_lock

COMPLETE = "complete"
RESOLVED = "resolved.json"
RECIPE = 3  # what was built by an older one is built again
NO_PACKAGE = "if it is not to be installed, give build: {install: [-r, requirements.txt]}, or {install: []}"


@dataclass(frozen=True)
class Built:
    """A side on this disk: the checkout, the project in it, and the interpreter of its environment.

    ``unpinned`` are its packages whose versions no file of the commit fixes. ``anew`` says that they could
    not be those of the base. ``content`` is a digest of all that is not in the commit itself.
    """

    home: Path
    source: Path
    project: Path
    unpinned: tuple[str, ...] = ()
    anew: bool = False
    content: str = ""

    @property
    def python(self) -> Path:
        """Return the interpreter of the environment."""
        return self.home / "venv" / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Return the directory of the environment's own packages. Raises BuildFailed if it is gone."""
        found = next((self.home / "venv" / "lib").glob("python3.*/site-packages"), None)
        if found is None:
            raise BuildFailed(f"{self.home / 'venv'}: no environment is there any more: what has deleted it?")
        return found

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
    made_from: list[object] = [
        RECIPE, commit.commit, str(inside), block.model_dump(mode="json"), sys.version, _seen(block),
        made_by(), repository.settings(),
    ]  # fmt: skip
    alone, home = _home(made_from), _home([*made_from, sorted((like or {}).items())])
    project = project_of(set(repository.files(commit)), inside, block)
    if like and not (home / COMPLETE).is_file() and _has(alone, like):
        home = alone  # by itself it came to the same versions
    home = home if like else alone
    with locked("build a commit", home):
        built = Built(home, home / "source", home / "source" / project)
        if not (home / COMPLETE).is_file():
            with sides_lock([home], say):  # a gate may be using what is there
                say(f"build {commit.label}")
                _build_anew(built, repository, commit, block, like or {}, check)
        known = json.loads((home / RESOLVED).read_text())
    return replace(built, unpinned=tuple(known["unpinned"]), anew=known["anew"], content=known["content"])


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
    delete(built.home)
    built.home.mkdir(mode=0o700)  # what it holds is as private as the repository
    try:
        _check_out(repository, commit, built.source)
        if check:
            check(built.source)
        found = _make(built, block, commit.label, like)
    finally:
        repository.let_go(built.source)
    seen = [*_seen(block), *repository.settings()]
    made = content(built.source, built.packages, set(repository.files(commit)), seen)
    about = {"unpinned": found.unpinned, "anew": found.anew, "content": made}
    (built.home / RESOLVED).write_text(json.dumps(about))
    tree.write_manifest(built.home, ("source", "venv"))
    (built.home / COMPLETE).touch()


def _check_out(repository: Repository, commit: Commit, to: Path) -> None:
    """Write the files of a commit. Raises BuildFailed, for example if a submodule cannot be fetched."""
    try:
        repository.check_out(commit, to)
    except BenchError as bad:
        repository.remove(to)  # a disk that it has filled would stay full
        raise BuildFailed(f"cannot check out {commit.label}: {bad}") from None


def _home(made_from: list[object]) -> Path:
    return cache_root() / "sides" / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]


def _has(home: Path, like: Mapping[str, str]) -> bool:
    """Return whether a side that is there has these versions, of the packages among them that it has."""
    if not (home / COMPLETE).is_file():
        return False
    found = packages(Built(home, home, home).packages)
    return all(found.get(name, version) == version for name, version in like.items())


def _make(built: Built, block: BuildBlock, label: str, like: Mapping[str, str]) -> Built:
    """Make the environment and install into it, with this tool's pip: no side needs its own."""
    if not built.project.is_dir() or not built.project.resolve().is_relative_to(built.source.resolve()):
        where = built.project.relative_to(built.source)
        raise UsageError(f"build.directory: there is no {where} in this commit")
    run = Runner(built.home / "build.log", built.project, built.python, label)
    pip = own_pip(built.python)
    needs_pip = any("pip" in command for command in block.commands)  # else it would be the pip of the job
    bare = ["--without-pip"] if pip and not needs_pip else []
    run([sys.executable, "-I", "-m", "venv", *bare, str(built.home / "venv")], "an environment")
    (built.packages / "below-by-bench.pth").write_text("\n".join(_below(block)) + "\n")
    for command in block.commands:
        run(["/bin/sh", "-c", command], f"build.commands: `{command}`")
    pip = pip or [str(built.python), "-I", "-m", "pip"]
    install = [*pip, "--disable-pip-version-check", "install", "--progress-bar", "off"]
    asked = pip_arguments(built.project, built.source, block)
    anew = _pip(run, install, asked, _constraints_file(built, asked, like))
    if uses_uv(built.project, built.source, block):
        run(uv_command(built.project), "`uv sync`")
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
            given = ["-c", str(file)] if file else []
            run([*install, *arguments, *given], what, NO_PACKAGE if arguments == ["."] else "")
        except BuildFailed as bad:
            if file is None or bad.late:
                raise
            _pip(run, install, asked[number:], None)
            return True
    return False


def _below(block: BuildBlock) -> list[str]:
    """Return the directories of packages that the side sees below its own."""
    if block.inherit == "tool":
        return [str(layer())]
    return inherited_places() if block.inherit == "all" else []


def _seen(block: BuildBlock) -> list[str]:
    """Return the same with a digest of what is installed in places where that may change."""
    beside = [installed_beside(Path(sys.executable))] if block.inherit == "all" else []
    return [*_below(block), *beside]
