"""Make the Python environments of servers, once in the cache and step by step, and remove them again.

An environment of this kind holds nothing but the engine: unlike those of ``bench/environments.py`` it does
not see the packages of this interpreter. A step that is done is noted, so that an attempt which failed or
was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from bench.environments import COMPLETE, delete_environments, finds
from bench.errors import BenchError, UsageError
from bench.formatting import did_you_mean, format_size, one_line
from bench.models.cache_lock import locked
from bench.models.disk_cache import cache_root
from bench.serving.engines import ADAPTERS
from bench.serving.engines.adapter import Adapter
from bench.serving.engines.recipe import Recipe
from bench.serving.environment_build import EnvironmentBuild, Say, python_of

STEPS = "steps"


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
    return python_of(home) if (home / COMPLETE).is_file() else None


def interpreter_for(adapter: Adapter, asked: str | None) -> str:
    """Return the Python that starts an engine: the one that was asked for, else that of its environment,
    else this one if it needs none. Raises UsageError if its environment is not made."""
    home = ADAPTERS[adapter.lives_with] if adapter.lives_with else adapter
    if asked is not None or home.recipe is None or home.is_here():
        return asked or sys.executable
    own = made(home.name)
    if own is None:
        raise UsageError(
            f"{adapter.title} is not installed here: bench env make {home.name}, or name an interpreter "
            "that has it (--python, or runtime.python of a row)"
        )
    return str(own)


def interpreter_apart(adapter: Adapter) -> Path | None:
    """Return the Python of the environment in which an engine is started; None if this one starts it, or if
    the engine is nowhere."""
    try:
        found = interpreter_for(adapter, None)
    except UsageError:
        return None
    return None if found == sys.executable else Path(found)


def interpreter_of_side(adapter: Adapter, python: Path) -> str | None:
    """Return the Python that starts an engine in a side of a gate: the side's own ``python`` if its commit
    brings the engine, else that of the engine's environment. None if the engine is in neither."""
    if adapter.in_any() or finds(python, adapter.modules):
        return str(python)
    try:
        return interpreter_for(adapter, None)
    except UsageError:
        return None


def make(name: str, say: Say) -> Path:
    """Make an engine's environment, or finish it, and return its interpreter.

    Raises UsageError for too little room on the disk, and BenchError with pip's last lines for a step that
    failed. The same command then goes on with that step.
    """
    recipe = recipe_of(name)
    home = _home(name, recipe)
    with locked("make an environment", home):
        if (home / COMPLETE).is_file():
            say(f"{name}: it is made already")
            return python_of(home)
        home.mkdir(exist_ok=True)
        done = _done(home)
        if not done:
            _must_have_room(home, recipe)
        steps = EnvironmentBuild(home, recipe, say).steps()
        for number, (title, step) in enumerate(steps, start=1):
            say(f"{number}/{len(steps)} {title}{': done before' if title in done else ''}")
            if title not in done:
                _try(step, number, len(steps), name)
                with (home / STEPS).open("a") as notes:
                    notes.write(f"{title}\n")
        (home / COMPLETE).touch()
    return python_of(home)


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
    if not python_of(home).exists() or not (home / STEPS).is_file():
        (home / STEPS).unlink(missing_ok=True)
        return ()
    return tuple((home / STEPS).read_text().splitlines())


def _must_have_room(home: Path, recipe: Recipe) -> None:
    free = shutil.disk_usage(home).free
    if free < recipe.disk_bytes:
        wanted, have = format_size(recipe.disk_bytes), format_size(free)
        raise UsageError(f"{home}: it takes {wanted}, and {have} are free there")


def _root() -> Path:
    return cache_root() / "envs"


def _home(name: str, recipe: Recipe) -> Path:
    """Return the directory of an environment; another recipe or another Python has another one."""
    return _root() / f"serve-{name}-{hashlib.sha256(f'{recipe} {sys.version}'.encode()).hexdigest()[:8]}"
