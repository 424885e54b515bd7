"""Python environments of serving engines: made once in the cache, step by step, and removed again.

An environment of this kind holds nothing but the engine: unlike those of ``bench/environments.py`` it does
not see the packages of this interpreter. A step that is done is noted, so that an attempt which failed or
was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import filelock

from bench.environments import COMPLETE, INSTALL_S, delete_environments
from bench.errors import BenchError, UsageError
from bench.formatting import did_you_mean, one_line
from bench.machine.children import LINES, NOWHERE, SAFE, environment
from bench.machine.family import end_family, marked
from bench.models.cache import cache_root
from bench.serving.engines import ADAPTERS
from bench.serving.engines.adapter import Adapter
from bench.serving.engines.recipe import Recipe

STEPS = "steps"
# An index beside pip's own, with the CPU builds of PyTorch. scripts/environment.sh reads the same variable.
TORCH_INDEX = "BENCH_TORCH_INDEX"
PREFIXES = ("PIP_", "SSL_")
LARGE_MB = 10
_DOWNLOAD = re.compile(r"Downloading (\S+) \(([\d.]+) (MB|GB)\)")
_INSTALL = re.compile(r"Installing collected packages: (.+)")

# Runs in the new interpreter, whose markers count; pip brings a parser of requirements with it.
_REQUIREMENTS = """
import importlib.metadata, sys
from pip._vendor.packaging.requirements import Requirement
name, extras, without = sys.argv[1], [*sys.argv[2].split(","), ""], sys.argv[3].split(",")
for text in importlib.metadata.requires(name) or ():
    one = Requirement(text)
    if one.name not in without and (not one.marker or any(one.marker.evaluate({"extra": e}) for e in extras)):
        one.marker = None
        print(one)
"""
Say = Callable[[str], None]


def with_recipes() -> tuple[str, ...]:
    """Return the names of the engines that can have an environment of their own."""
    return tuple(name for name, adapter in ADAPTERS.items() if adapter.recipe is not None)


def recipe_of(name: str) -> Recipe:
    """Return what an engine's environment is made of on this machine.

    Raises UsageError for an engine that has none, or that does not exist.
    """
    adapter = ADAPTERS.get(name)
    if adapter is None:
        hint = did_you_mean(name, with_recipes(), f"there are {', '.join(with_recipes())}")
        raise UsageError(f"no serving engine called {one_line(name)[:60]!r} has an environment ({hint})")
    if adapter.recipe is None:
        raise UsageError(f"{adapter.title} has no environment that can be made here: {adapter.install}")
    return adapter.recipe()


def rows() -> list[tuple[str, str, str]]:
    """Return a line for each engine: its name, where its environment is or why not, and its package."""
    return [_row(name) for name in with_recipes()]


def _row(name: str) -> tuple[str, str, str]:
    try:
        recipe, python = recipe_of(name), made(name)
    except UsageError as bad:
        return name, one_line(str(bad)), ""
    absent = "installed here" if ADAPTERS[name].is_here() else f"not made yet: bench env make {name}"
    return name, str(python or absent), recipe.package


def made(name: str) -> Path | None:
    """Return the interpreter of an engine's environment; None if it is not made, or not to its end."""
    home = _home(name, recipe_of(name))
    return _python(home) if (home / COMPLETE).is_file() else None


def interpreter_for(adapter: Adapter, asked: str | None) -> str:
    """Return the Python that starts an engine: the one that was asked for, else that of its environment,
    else this one if it needs none. Raises UsageError if its environment is not made."""
    if asked is not None or adapter.recipe is None or adapter.is_here():
        return asked or sys.executable
    own = made(adapter.name)
    if own is None:
        raise UsageError(
            f"{adapter.title} is not installed here: bench env make {adapter.name}, or name an interpreter "
            "that has it (--python, or runtime.python of a row)"
        )
    return str(own)


def make(name: str, say: Say) -> Path:
    """Make an engine's environment, or finish it, and return its interpreter.

    Raises UsageError for too little room on the disk, and BenchError with pip's last lines for a step that
    failed. The same command then goes on with that step.
    """
    recipe = recipe_of(name)
    home = _home(name, recipe)
    home.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{home}.lock"):
        if (home / COMPLETE).is_file():
            say(f"{name}: it is made already")
            return _python(home)
        home.mkdir(exist_ok=True)
        done = _done(home)
        if not done:
            _must_have_room(home, recipe)
        steps = _Making(home, recipe, say).steps()
        for number, (title, step) in enumerate(steps, start=1):
            say(f"{number}/{len(steps)} {title}{': done before' if title in done else ''}")
            if title not in done:
                _try(step, number, len(steps), name)
                with (home / STEPS).open("a") as notes:
                    notes.write(f"{title}\n")
        (home / COMPLETE).touch()
    return _python(home)


def remove(name: str) -> tuple[Path, ...]:
    """Delete every environment of an engine, those of earlier recipes too; return what was deleted."""
    recipe_of(name)
    return delete_environments(_root(), f"serve-{name}")


def _try(step: Callable[[], object], number: int, of: int, name: str) -> None:
    try:
        step()
    except BenchError as bad:
        again = f"step {number} of {of}; `bench env make {name}` goes on with it"
        raise BenchError(f"the environment of {name} is not complete ({again}): {bad}") from None


def _done(home: Path) -> tuple[str, ...]:
    """Return the titles of the steps that are done; none if the interpreter is gone."""
    if not _python(home).exists() or not (home / STEPS).is_file():
        (home / STEPS).unlink(missing_ok=True)
        return ()
    return tuple((home / STEPS).read_text().splitlines())


def _must_have_room(home: Path, recipe: Recipe) -> None:
    free = shutil.disk_usage(home).free
    if free < recipe.disk_bytes:
        wanted, have = recipe.disk_bytes / 1e9, free / 1e9
        raise UsageError(f"{home}: it takes {wanted:.1f} GB, and {have:.1f} GB are free there")


def _root() -> Path:
    return cache_root() / "envs"


def _home(name: str, recipe: Recipe) -> Path:
    """Return the directory of an environment; another recipe or another Python has another one."""
    return _root() / f"serve-{name}-{hashlib.sha256(f'{recipe} {sys.version}'.encode()).hexdigest()[:8]}"


def _python(home: Path) -> Path:
    return home / "venv" / "bin" / "python"


class _Making:
    """The steps of one environment, each a method."""

    def __init__(self, home: Path, recipe: Recipe, say: Say) -> None:
        self._home, self._recipe, self._say = home, recipe, say
        self._python = [str(_python(home)), "-P"]
        index = os.environ.get(TORCH_INDEX)
        more = ["--extra-index-url", index] if index else []
        pip = ["-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
        self._pip = [*self._python, *pip, *more]

    def steps(self) -> list[tuple[str, Callable[[], object]]]:
        """Return what is said of each step, and the step."""
        recipe = self._recipe
        left_out = f" without {', '.join(recipe.without)}" if recipe.without else ""
        return [
            ("a new environment", self._begin),
            *([(" ".join(recipe.first), self._first)] if recipe.first else []),
            (f"{recipe.package} itself", self._package),
            (f"its requirements{left_out}", self._requirements),
            *([(f"its name {recipe.called[0]}", self._name)] if recipe.called else []),
            (f"import {recipe.module}", self._imported),
        ]

    def _begin(self) -> None:
        shutil.rmtree(self._home / "venv", ignore_errors=True)
        self._run([sys.executable, "-P", "-m", "venv", str(self._home / "venv")])

    def _first(self) -> None:
        try:
            self._run([*self._pip, *self._recipe.first])
        except BenchError as bad:
            raise BenchError(f"{bad}\n  {self._recipe.hint}") from None

    def _package(self) -> None:
        self._run([*self._pip, "--no-deps", self._recipe.package])

    def _requirements(self) -> None:
        """Install what the package asks for; ``first`` stands beside it, so that nothing replaces that."""
        one = self._recipe
        wanted = self._run(
            [*self._python, "-c", _REQUIREMENTS, one.distribution, one.extras, ",".join(one.without)]
        )
        if wanted:
            self._run([*self._pip, *one.first, *wanted])

    def _name(self) -> None:
        assert self._recipe.called is not None
        name, version = self._recipe.called
        ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
        info = Path(self._run([*self._python, "-c", ask])[-1]) / f"{name}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    def _imported(self) -> None:
        self._run([*self._python, "-c", f"import {self._recipe.module}"])

    def _run(self, command: list[str]) -> list[str]:
        """Run a command, tell what takes long in it, and return its lines. Raises BenchError."""
        lines: list[str] = []
        given, late = marked(environment(*PREFIXES) | SAFE), threading.Event()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=NOWHERE,
            text=True, errors="replace", env=given, start_new_session=True,
        ) as child:  # fmt: skip

            def end() -> None:
                late.set()
                end_family(child, given)

            timer = threading.Timer(INSTALL_S, end)
            timer.start()
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    lines.append(line.strip())
                    self._tell(line)
                child.wait()
            finally:
                timer.cancel()
                end_family(child, given)
        if child.returncode or late.is_set():
            last = [one_line(line)[:500] for line in lines if line][-LINES:]
            if late.is_set():
                last.insert(
                    0, f"no end within {INSTALL_S:g} s, so it was ended, with all that it had started"
                )
            raise BenchError("\n  ".join(last) or f"exit code {child.returncode}")
        return lines

    def _tell(self, line: str) -> None:
        if found := _DOWNLOAD.search(line):
            if found[3] == "GB" or float(found[2]) >= LARGE_MB:
                self._say(f"    {found[1].rpartition('/')[2]}: {found[2]} {found[3]}")
        elif found := _INSTALL.search(line):
            self._say(f"    installing {len(found[1].split(', '))} packages")
