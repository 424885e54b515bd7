"""A side's environment: made from what its own commit declares, and kept by the digest of all that.

The project is the nearest directory above the config that has a lock file, requirements or a package. The
config's ``build`` block says otherwise where that is wrong.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock

from bench.config.spec import BuildBlock
from bench.errors import BenchError, UsageError
from bench.machine.children import environment, last_lines
from bench.machine.family import run_whole
from bench.models.cache import cache_root
from bench.sides.layer import layer
from bench.sides.repository import Commit, Repository
from bench.store import tree

COMPLETE = "complete"
INSTALL_S = 3600
LISTS = ("requirements.lock", "requirements.txt")
MARKS = ("uv.lock", *LISTS, "pyproject.toml", "setup.py", "setup.cfg")
# A requirements file that installs the project itself, such as "-e ." or ".[extra]".
ITSELF = re.compile(r"^\s*(-e\s+|--editable[ =])?(file:)?\./?(\[[^\]]*\])?\s*(#.*)?$", re.MULTILINE)
PIP = ("PIP_", "SETUPTOOLS_SCM_", "HATCH_", "UV_")


@dataclass(frozen=True)
class Built:
    """A side on this disk: the checkout, the project in it, and the interpreter of its environment."""

    home: Path
    source: Path
    project: Path

    @property
    def python(self) -> Path:
        """Return the interpreter of the environment."""
        return self.home / "venv" / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Return the directory of the environment's own packages."""
        return next((self.home / "venv" / "lib").glob("python3.*/site-packages"))


def build(
    repository: Repository, commit: Commit, inside: Path, block: BuildBlock, say: Callable[[str], None]
) -> Built:
    """Return a side that is ready to be measured, making what does not exist yet.

    ``inside`` is the directory of the config within the repository. Raises BenchError with the last lines of
    the command that failed.
    """
    made_from: list[object] = [
        commit.commit,
        str(inside),
        block.model_dump(mode="json"),
        sys.version,
        str(layer()),
    ]
    made_from += [sorted((k, v) for k, v in os.environ.items() if k.startswith(PIP))]
    home = cache_root() / "sides" / hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
    home.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{home}.lock"):
        source = home / "source"
        project = source / _project(repository, commit, inside, block)
        built = Built(home, source, project)
        if (home / COMPLETE).is_file():
            return built
        say(f"build {commit.label}")
        repository.remove(source)
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        repository.check_out(commit, source)
        _make(built, block, home / "build.log", commit.label)
        repository.let_go(source)
        tree.write_manifest(source, home / tree.MANIFEST)
        (home / COMPLETE).touch()
    return built


def _project(repository: Repository, commit: Commit, inside: Path, block: BuildBlock) -> Path:
    """Return the project's directory within the repository; the config's own if nothing is declared."""
    if block.directory is not None:
        return Path(block.directory)
    files = set(repository.files(commit))
    for place in (inside, *inside.parents):
        if any((place / mark).as_posix() in files for mark in MARKS):
            return place
    return inside


def _make(built: Built, block: BuildBlock, log: Path, label: str) -> None:
    """Make the environment and install into it, with this tool's pip: no side needs its own."""
    if not built.project.is_dir() or not built.project.resolve().is_relative_to(built.source.resolve()):
        where = built.project.relative_to(built.source)
        raise UsageError(f"build.directory: there is no {where} in this commit")
    run = _Runner(log, built, label)
    pip = importlib.util.find_spec("pip") is not None
    bare = ["--without-pip"] if pip else []
    run([sys.executable, "-I", "-m", "venv", *bare, str(built.home / "venv")], "an environment")
    below = [str(layer())] if block.inherit == "tool" else _site_packages() if block.inherit == "all" else []
    (built.packages / "below-by-bench.pth").write_text("\n".join(below) + "\n")
    for command in block.commands:
        run(["/bin/sh", "-c", command], f"build.commands: `{command}`")
    ours = [sys.executable, "-I", "-m", "pip", "--python", str(built.python)]
    theirs = [str(built.python), "-I", "-m", "pip"]
    install = [*(ours if pip else theirs), "--disable-pip-version-check", "install", "--progress-bar", "off"]
    for arguments in _pip_arguments(built.project, block):
        run([*install, *arguments], f"`pip install {' '.join(arguments)}`")
    if _uses_uv(built.project, block):
        run(_uv(built.project), "`uv sync`")


def _uses_uv(project: Path, block: BuildBlock) -> bool:
    return block.install is None and block.tool != "pip" and (project / "uv.lock").is_file()


def _pip_arguments(project: Path, block: BuildBlock) -> list[list[str]]:
    """Return the arguments of each `pip install`: what the project declares, then the project itself. There
    are none for a project that declares nothing."""
    if block.install is not None:
        return [list(block.install)] if block.install else []
    if _uses_uv(project, block):
        return []
    listed = next((name for name in LISTS if (project / name).is_file()), None)
    found = [["-r", listed]] if listed else []
    names_itself = listed and ITSELF.search((project / listed).read_text(errors="replace"))
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
    file = project / "pyproject.toml"
    return file.is_file() and bool(
        re.search(r"^\[(build-system|project)\]", file.read_text(errors="replace"), re.M)
    )


def _site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


class _Runner:
    """Runs the commands of a build in the project's directory and keeps what they print."""

    def __init__(self, log: Path, built: Built, label: str) -> None:
        self._log, self._cwd, self._label = log, built.project, label
        binaries = built.python.parent
        self._env: Mapping[str, str] = environment(*PIP) | {
            "VIRTUAL_ENV": str(binaries.parent),
            "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "UV_PROJECT_ENVIRONMENT": str(binaries.parent),
            "UV_PYTHON": str(built.python),
            "UV_PYTHON_DOWNLOADS": "never",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __call__(self, command: Sequence[str], what: str) -> str:
        try:
            done = run_whole(command, self._env, INSTALL_S, self._cwd)
        except (OSError, subprocess.SubprocessError) as bad:
            self._log.write_text(
                f"$ {' '.join(command)}\n{getattr(bad, 'stdout', '')}\n{getattr(bad, 'stderr', '')}"
            )
            raise BenchError(
                f"cannot build {self._label}: {what} failed ({self._log}):\n  {last_lines(bad)}"
            ) from None
        return done.stdout
