"""Find plug-ins by their file name; there is no list to edit.

``quantise: bnb-nf4`` is the module ``bench/optimisations/quantise/bnb_nf4.py``: a plug-in ``bnb-nf4`` of the
kind ``optimisations.quantise``. The first line of its docstring is its description, ``REQUIRES`` lists the
packages it needs, and ``Params`` (a frozen dataclass) holds its settings. Modules import heavy libraries only
inside functions, so it is cheap to list them.

Another package adds plug-ins by entry points. The group of an entry point is ``inference_cost_bench.`` and
the kind, its name is the plug-in's name, and its value is a module::

    [project.entry-points."inference_cost_bench.optimisations.quantise"]
    her-scheme = "her_package.her_scheme"

If this package has a plug-in of the same name, this package's plug-in is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import ModuleType

from bench.errors import Explained, UsageError
from bench.formatting import did_you_mean, one_line

PREFIX = "inference_cost_bench."
MOST_SAID = 300  # letters of why a plug-in cannot be imported
SHOWN = 60  # letters of a value in a message
# What a plug-in of somebody else must have, by its kind. Tests see to it that ours have it.
_OF_A_SCHEME = ("Params", "apply or RULE", "evidence or RULE")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "optimisations": ("SPELLINGS", "WEIGHTS"), "runtimes": ("load or SERVER",),
    "probes": ("METRICS", "measure"), "texts": ("LICENCE", "read"), "workloads": ("prompts or plan or LOAD",),
    "report.formats": ("SUFFIX", "render"),
    "drift.suites": ("METRICS",), "drift.statistics": ("METRIC", "of_positions", "figure"),
}  # fmt: skip
TEXTS = ("__doc__", "NOTE", "LICENCE", "SUFFIX")  # must be texts, if a plug-in has them
LISTS = ("REQUIRES", "RUNTIMES", "ENCODERS", "ENVIRONMENT", "MODELS", "USES", "DTYPES", "SPELLINGS")
NUMBERS = ("PLACE", "BETWEEN_RUNS_SD")
_loaded: dict[tuple[str, ...], ModuleType] = {}  # by kind, name and the directories of the kind


@cache
def _of_others() -> Mapping[str, Mapping[str, str]]:
    """Return the modules that other packages add, by kind and name. Raises UsageError for a package whose
    entry points cannot be read."""
    from importlib.metadata import entry_points

    try:
        groups = {group for group in entry_points().groups if group.startswith(PREFIX)}
    except (TypeError, ValueError) as bad:  # a line without '=', or bytes that are no text
        raise _unreadable() or bad from None
    found: dict[str, dict[str, str]] = {}
    for group in groups:
        kind = found.setdefault(group.removeprefix(PREFIX), {})
        for point in entry_points(group=group):
            # ``point.module`` would fail for a name with a dash
            kind[point.name] = re.split(r"[:\[]", point.value)[0].strip()
    return found


def versions_of_others() -> dict[str, str]:
    """Return the version of each other package that adds plug-ins: its code is a part of what is measured."""
    from importlib.metadata import entry_points

    points = [point for kind in _of_others() for point in entry_points(group=f"{PREFIX}{kind}")]
    return {point.dist.name: point.dist.version for point in points if point.dist is not None}


def _unreadable() -> UsageError | None:
    """Return an error that names the installed package whose entry points cannot be read."""
    from importlib.metadata import distributions

    for package in distributions():
        try:
            package.entry_points  # noqa: B018 - it is read here
        except (TypeError, ValueError) as bad:
            why = one_line(str(bad))[:MOST_SAID]
            name = package.metadata["Name"]
            return UsageError(f"the entry points of {name} cannot be read ({why}): install it again")
    return None


def _home(kind: str) -> ModuleType:
    """Return the package that holds plug-ins of this kind: one of ours, or the package of another package's
    verb."""
    above, _, last = kind.rpartition(".")
    if last in _of_others().get(above, {}):
        return _imported(above, last, _of_others()[above][last])
    return importlib.import_module(f"bench.{kind}")


def _modules(home: ModuleType) -> tuple[tuple[str, bool], ...]:
    """Return (name, whether it is a package) of each module in a package: a run asks 500 times."""
    return _listed(tuple((place, _files(place)) for place in home.__path__))


def _files(place: str) -> tuple[str, ...]:
    """Return the names in a directory; none where there is no directory, as in a zip file."""
    try:
        with os.scandir(place) as found:
            return tuple(sorted(entry.name for entry in found))
    except OSError:
        return ()


@cache
def _listed(places: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[tuple[str, bool], ...]:
    """Return the modules in directories that hold these files, which are the key of what is remembered."""
    return tuple((one.name, one.ispkg) for one in pkgutil.iter_modules([place for place, _files in places]))


def names(kind: str) -> tuple[str, ...]:
    """Return the plug-ins of a kind, spelled as in YAML (with dashes) and sorted."""
    found = (name for name, is_package in _modules(_home(kind)) if not is_package)
    ours = {name.replace("_", "-") for name in found if not name.startswith("_")}
    return tuple(sorted(ours | set(_of_others().get(kind, {}))))


def packages(kind: str) -> dict[str, ModuleType]:
    """Return the packages of plug-ins below a kind by name, ours and those of other packages."""
    home = _home(kind)
    ours = {one: f"{home.__name__}.{one}" for one, is_package in _modules(home) if is_package}
    return {
        name: _imported(kind, name, module) for name, module in {**_of_others().get(kind, {}), **ours}.items()
    }


def module_name(kind: str, name: str) -> str:
    """Return the module name of a plug-in that ``names`` lists, for a process that imports it itself."""
    home = _home(kind)
    file = name.replace("-", "_")
    if any(module == file for module, _is_package in _modules(home)):
        return f"{home.__name__}.{file}"
    return _of_others()[kind][name]


def load(kind: str, name: str, fits: Callable[[ModuleType], bool] = lambda module: True) -> ModuleType:
    """Return the plug-in module. Raises UsageError if it is unknown; the message names the nearest plug-in
    for which ``fits`` is true.

    What was loaded once is not looked for again: a check of a sweep of 999 cells loads 32,000 times.
    """
    key = (kind, name, *_home(kind).__path__)
    loaded = _loaded.get(key)
    if loaded is not None and sys.modules.get(loaded.__name__) is loaded:
        return loaded
    known = names(kind)
    if name not in known:
        offered = [other for other, module in each(kind) if fits(module)] or known
        hint = did_you_mean(name, offered, f"known: {', '.join(offered)}")
        raise UsageError(f"no {_one_of(kind)} called {name[:60]!r} ({hint})")
    _loaded[key] = _imported(kind, name, module_name(kind, name))
    return _loaded[key]


def _imported(kind: str, name: str, module: str) -> ModuleType:
    """Import a plug-in. Raises UsageError if it cannot be imported; what goes wrong in a module of ours is a
    bug, unless a package is missing."""
    with Explained(lambda error: _why_not(kind, name, module, error)):
        found = importlib.import_module(module)
    if not module.startswith("bench.") and (wrong := _unfit(kind, found)):
        raise UsageError(f"the {_one_of(kind)} {name} is no plug-in of its kind: {module}.{wrong}")
    return found


def _unfit(kind: str, module: ModuleType) -> str:
    """Return what a module has of a wrong type, or lacks, for a plug-in of its kind; nothing if it fits."""
    tests: tuple[tuple[tuple[str, ...], Callable[[object], bool], str], ...] = (
        (TEXTS, lambda value: isinstance(value, str), "a text"),
        (LISTS, _are_texts, "a tuple of texts"),
        (NUMBERS, lambda value: type(value) in (int, float), "a number"),
        (("Params",), lambda value: isinstance(value, type) and is_dataclass(value), "a dataclass"),
    )
    for typed, fits, words in tests:
        for name in typed:
            value = getattr(module, name, None)
            if value is not None and not fits(value):
                return f"{name} is {one_line(repr(value))[:SHOWN]}, not {words}"
    needed = NEEDED.get(kind, _OF_A_SCHEME if kind.startswith("optimisations.") else ())
    absent = (one for one in needed if not any(hasattr(module, other) for other in one.split(" or ")))
    return next((f"{one} is missing" for one in absent), "")


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(one, str) for one in value)


def _why_not(kind: str, name: str, module: str, error: BaseException) -> UsageError | None:
    """Return an error that names the plug-in whose module raised ``error`` while it was imported; None for
    an interrupt, and for a bug of a module of ours."""
    if not isinstance(error, Exception | SystemExit):
        return None
    if module.startswith("bench.") and not isinstance(error, ImportError | SystemExit):
        return None
    why = f"it ends the program ({error!r})" if isinstance(error, SystemExit) else str(error)
    kind_of_error = "" if isinstance(error, ImportError | SystemExit) else f"{type(error).__name__}: "
    said = one_line(f"{kind_of_error}{why}")[:MOST_SAID]
    return UsageError(f"the {_one_of(kind)} {name} cannot be imported from {module}: {said}")


def _one_of(kind: str) -> str:
    """Return what a plug-in of the kind is called: ``quantise scheme``, ``runtime``."""
    above, _, last = kind.rpartition(".")
    return f"{last} scheme" if above == "optimisations" else last.removesuffix("s")


def describe(module: ModuleType) -> str:
    """Return the first line of the module's docstring."""
    first, _, _rest = (module.__doc__ or "").strip().partition("\n")  # python -OO keeps no docstrings
    return first.rstrip(".")


def missing_packages(module: ModuleType) -> tuple[str, ...]:
    """Return the packages in ``REQUIRES`` that this interpreter cannot find; nothing is imported."""
    wanted: tuple[str, ...] = getattr(module, "REQUIRES", ())
    return tuple(name for name in wanted if not _is_there(name))


def _is_there(package: str) -> bool:
    """Return whether a package is installed. Raises UsageError if the package above it cannot be imported."""
    try:
        with Explained(lambda error: _broken(package, error)):
            return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # no ``optimum`` for ``optimum.quanto``, or no name of a package
        return False


def _broken(package: str, error: BaseException) -> UsageError | None:
    """Return an error that names the package that raised ``error`` while it was imported; None for one that
    is not there, and for an interrupt."""
    if isinstance(error, ImportError | ValueError) or not isinstance(error, Exception | SystemExit):
        return None
    above, said = package.rpartition(".")[0] or package, one_line(f"{type(error).__name__}: {error}")
    return UsageError(f"the package {above} cannot be imported ({said[:MOST_SAID]}): install it again")


def each(kind: str) -> Iterator[tuple[str, ModuleType]]:
    """Yield (YAML name, module) of every plug-in of a kind."""
    for name in names(kind):
        yield name, load(kind, name)
