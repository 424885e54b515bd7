"""Make the Python environments of engines, and look at what is installed in an interpreter.

An engine whose packages conflict with those of this environment gets its ``ENVIRONMENT`` from ``bench env
make``. It also sees the packages of this environment, after its own, so only the differences are installed.
Environments are made once and kept in the cache. Those of a gate's commits are made by ``bench/sides``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench import plugins
from bench.errors import BenchError, UsageError
from bench.formatting import did_you_mean, short_name
from bench.machine import installed
from bench.machine.children import NOWHERE, SAFE, environment, last_lines
from bench.machine.package_places import inherited_places, package_places
from bench.machine.process_tree import run_whole
from bench.models.cache_lock import locked
from bench.models.disk_cache import cache_root
from bench.store.directories import delete, delete_whole

COMPLETE = "complete"
LOOK_S = 120
FINDS = """
import importlib.util, json, sys
def found(name):
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
print(any(all(map(found, some)) for some in json.loads(sys.argv[1])))
"""
INSTALL_S = 1800


@dataclass(frozen=True)
class Identity:
    """The environment of one side of a gate. Equal digests mean the same code, as far as an environment
    tells."""

    label: str
    python: str
    packages_sha256: str
    sources_sha256: str


def identity(python: Path | None, label: str = "") -> Identity:
    """Ask an interpreter (None: this one) what is installed in it. Raises UsageError if it cannot be run."""
    asked = (python or Path(sys.executable)).absolute()
    ours = {} if python else {"PYTHONPATH": os.pathsep.join(package_places())}
    try:
        look = Path(installed.__file__).read_text(encoding="utf-8")
        found = json.loads(_said([str(asked), "-c", look], LOOK_S, more=ours))
    except (OSError, subprocess.SubprocessError, ValueError) as bad:
        raise UsageError(f"{python}: not a Python interpreter that works ({last_lines(bad)})") from None
    packages = hashlib.sha256("\n".join(found["packages"]).encode()).hexdigest()
    return Identity(short_name(label) or "this environment", found["python"], packages, found["sources"])


def installed_beside(python: Path) -> str:
    """Return a digest of the packages with their versions that are installed beside an interpreter, without
    running it."""
    homes = sorted(python.absolute().parent.parent.glob("lib*/python3*/*-packages"))
    found = (one.name for home in homes for one in home.glob("*-info"))
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def finds(python: Path, modules: Sequence[Sequence[str]]) -> bool:
    """Return whether an interpreter finds all modules of one entry; False if it cannot be run."""
    try:
        return _said([str(python), "-c", FINDS, json.dumps(modules)], LOOK_S).strip() == "True"
    except (OSError, subprocess.SubprocessError):
        return False


def interpreter_at(path: str) -> Path:
    """Return the interpreter at ``path``, absolute. Raises UsageError if there is none."""
    found = Path(path)
    if not (found.is_file() and os.access(found, os.X_OK)):
        raise UsageError(f"{path[:200]}: no Python interpreter there")
    return found.absolute()


def interpreter(name: str, python: str | None) -> Path | None:
    """Return the Python that runs an engine; None means this one. It is the one named in the config, or that
    of the engine's own environment if the engine has one and its packages are missing here."""
    if python is not None:
        return Path(python)
    module = plugins.load("runtimes", name)
    if not getattr(module, "ENVIRONMENT", ()) or not plugins.missing_packages(module):
        return None
    return _python_in(_engine_home(name))


def missing_environment(name: str) -> str | None:
    """Return a message with the command that makes an engine's environment; None if none is missing."""
    python = interpreter(name, None)
    if python is None or (python.parents[2] / COMPLETE).is_file():
        return None
    return f"the {name} engine has an environment of its own, which is not made yet: bench env make {name}"


def make_engine_environment(name: str) -> Path:
    """Install an engine's ``ENVIRONMENT`` and return its interpreter. Raises UsageError for an engine without
    one, BenchError for a failed installation; the next attempt then starts from the beginning."""
    wanted = pins_of(name)
    return _made(_engine_home(name), lambda: list(wanted), f"the {name} engine")


def remove_engine_environments(name: str) -> tuple[Path, ...]:
    """Delete every environment of an engine, those of earlier pins too; return what was deleted."""
    pins_of(name)
    return delete_environments(_environments(), name)


def delete_environments(root: Path, name: str) -> tuple[Path, ...]:
    """Delete every environment below ``root`` that is called ``name-…``; return what was deleted."""
    found = tuple(one for one in sorted(root.glob(f"{name}-*")) if one.is_dir())
    for home in found:
        with locked("delete an environment", home):
            (home / COMPLETE).unlink(missing_ok=True)
            delete_whole(home)
    return found


def engines_apart() -> dict[str, tuple[str, ...]]:
    """Return the engines that have their own environment, with the packages pinned in it."""
    found = ((name, getattr(module, "ENVIRONMENT", ())) for name, module in plugins.each("runtimes"))
    return {name: pins for name, pins in found if pins}


def pins_of(name: str) -> tuple[str, ...]:
    """Return the packages of an engine's own environment. Raises UsageError for an engine without one."""
    apart = engines_apart()
    if name in apart:
        return apart[name]
    if name in plugins.names("runtimes"):
        raise UsageError(f"the {name} engine runs in this environment; it needs none of its own")
    hint = did_you_mean(name, apart, f"there are {', '.join(apart)}")
    raise UsageError(f"no engine called {name[:60]!r} has an environment of its own ({hint})")


def _engine_home(name: str) -> Path:
    """Return the directory of an engine's environment; other pins or inherited packages change it."""
    pins = json.dumps(plugins.load("runtimes", name).ENVIRONMENT)
    return _environments() / f"{name}-{hashlib.sha256(pins.encode()).hexdigest()[:8]}-{_inherited()}"


def _environments() -> Path:
    return cache_root() / "envs"


def _inherited() -> str:
    return hashlib.sha256(json.dumps(sorted(inherited_places())).encode()).hexdigest()[:12]


def _python_in(home: Path) -> Path:
    return home / "venv" / "bin" / "python"


def _made(home: Path, wanted: Callable[[], list[str]], what: str) -> Path:
    """Return the interpreter of the environment at ``home``, and make it first if needed. ``wanted`` returns
    what pip installs."""
    python = _python_in(home)
    with locked("make an environment", home):
        if (home / COMPLETE).is_file():
            return python
        delete(home)
        home.mkdir()
        packages = wanted()
        _run([sys.executable, "-P", "-m", "venv", str(home / "venv")], f"an environment for {what}")
        _inherit(python)
        pip = [str(python), "-P", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _run([*pip, *packages], f"the packages of {what}")
        (home / COMPLETE).touch()
    return python


def _inherit(python: Path) -> None:
    """Let the new environment see the packages of this one, after its own."""
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(_said(ask, LOOK_S).strip())
    (own / "inherited-by-bench.pth").write_text("\n".join(inherited_places()) + "\n")


def _run(command: list[str], what: str) -> None:
    try:
        _said(command, INSTALL_S, "PIP_")
    except (OSError, subprocess.SubprocessError) as bad:
        raise BenchError(f"cannot make {what}: {last_lines(bad)}") from None


def _said(
    command: list[str], timeout_s: float, *prefixes: str, more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return what a command prints. Raises OSError and SubprocessError."""
    given = {**environment("VIRTUAL_ENV", *prefixes), **SAFE, **more}
    return run_whole(command, given, timeout_s, NOWHERE).stdout
