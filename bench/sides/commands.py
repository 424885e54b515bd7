"""Run the commands of a build, with the variables that they may see, and report the one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from bench.errors import BenchError
from bench.formatting import without_secrets
from bench.machine.children import environment, last_lines
from bench.machine.process_tree import run_whole
from bench.models.disk_cache import hash_file

INSTALL_S = 3600
PIP = ("PIP_", "SETUPTOOLS_SCM_", "HATCH_", "UV_")
# These lead pip or uv to another environment or project than the side's, or keep them from installing.
ELSEWHERE = frozenset({
    "PIP_PYTHON", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_DRY_RUN", "UV_PROJECT",
    "UV_WORKING_DIR", "UV_WORKING_DIRECTORY", "UV_SYSTEM_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_DRY_RUN",
    "UV_ENV_FILE", "UV_NO_INSTALL_PROJECT", "UV_NO_INSTALL_WORKSPACE", "UV_NO_INSTALL_LOCAL",
})  # fmt: skip
# What a compiler is told: with other flags the same commit is another program.
COMPILING = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CUDA_HOME")


class BuildFailed(BenchError):
    """A side cannot be built; ``late`` if a command took too long. ``log`` has all that it printed."""

    def __init__(self, message: str, *, late: bool = False, log: Path | None = None) -> None:
        super().__init__(message)
        self.late, self.log = late, log


def settings() -> tuple[dict[str, str], list[str]]:
    """Return the variables of a build, and the names of settings of pip and uv that it does not get.

    A password in these settings could be read by the code of a commit.
    """
    given = {key: value for key, value in environment(*PIP).items() if key not in ELSEWHERE}
    kept = {k: v for k, v in given.items() if not (k.startswith(PIP) and without_secrets(v) != v)}
    known = {*kept, *ELSEWHERE}
    return kept, sorted(key for key in os.environ if key.startswith(PIP) and key not in known)


def made_by() -> list[tuple[str, str]]:
    """Return the variables that change what a build makes, and the digests of the files that they name, such
    as one of constraints."""
    given = sorted((k, v) for k, v in settings()[0].items() if k.startswith(PIP) or k in COMPILING)
    named = (Path(word) for _name, value in given for word in value.split())
    files = (file for file in named if file.is_absolute() and file.is_file())
    return [*given, *((str(file), hash_file(file)) for file in files)]


def own_pip(python: Path) -> list[str] | None:
    """Return the first words of a command that runs this tool's pip in another environment; None without a
    pip here.

    ``pip --python`` does the same, but first starts a pip here that does nothing else.
    """
    found = PathFinder.find_spec("pip")  # setuptools' own finder would take a search for pip as pip running
    if found is None or found.origin is None:
        return None
    runner = Path(found.origin).with_name("__pip-runner__.py")
    if runner.is_file():
        return [str(python), str(runner)]
    return [sys.executable, "-I", "-m", "pip", "--python", str(python)]


class Runner:
    """Runs the commands of a build in the project's directory and keeps what they print."""

    def __init__(self, log: Path, cwd: Path, python: Path, label: str) -> None:
        self._log, self._cwd, self._label = log, cwd, label
        binaries = python.parent
        given, self._withheld = settings()
        self._env = given | {
            "VIRTUAL_ENV": str(binaries.parent),
            "PATH": f"{binaries}{os.pathsep}{given.get('PATH', os.defpath)}",
            "UV_PROJECT_ENVIRONMENT": str(binaries.parent),
            "UV_PYTHON": str(python),
            "UV_PYTHON_DOWNLOADS": "never",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_USER": "0",  # whatever a pip.conf says
        }

    def __call__(self, command: Sequence[str], what: str, advice: str = "") -> str:
        """Run a command and return what it prints. Raises BuildFailed with its last lines and the advice."""
        try:
            done = run_whole(command, self._env, INSTALL_S, self._cwd)
        except (OSError, subprocess.SubprocessError) as bad:
            printed = f"{getattr(bad, 'stdout', '')}\n{getattr(bad, 'stderr', '')}"
            self._log.write_text(without_secrets(f"$ {' '.join(command)}\n{printed}"))
            said = f"{without_secrets(what)} failed ({self._log}):\n  {last_lines(bad)}{self._hint()}"
            said += f"\n  ({advice})" if advice else ""
            raise BuildFailed(
                f"cannot build {self._label}: {said}",
                late=isinstance(bad, subprocess.TimeoutExpired),
                log=self._log,
            ) from None
        return done.stdout

    def _hint(self) -> str:
        names = ", ".join(self._withheld)
        return names and f"\n  (kept from the build, because there may be a password in it: {names})"
