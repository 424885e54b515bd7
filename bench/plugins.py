"""Plug-ins are found by their file name: no list to edit.

``quantise: bnb-nf4`` is the module ``bench/optimisations/quantise/bnb_nf4.py``. The first line of its
docstring is its description, ``REQUIRES`` the packages it needs, ``Params`` (a frozen dataclass) its
settings. Modules import heavy libraries only inside functions, so listing them costs nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType

from bench.errors import UsageError
from bench.formatting import nearest


def names(package: str) -> tuple[str, ...]:
    """The plug-ins in ``bench.<package>``, spelled as in YAML (dashes), sorted."""
    parent = importlib.import_module(f"bench.{package}")
    found = (
        m.name for m in pkgutil.iter_modules(parent.__path__) if not m.name.startswith("_") and not m.ispkg
    )
    return tuple(sorted(name.replace("_", "-") for name in found))


def load(package: str, name: str, fits: Callable[[ModuleType], bool] = lambda module: True) -> ModuleType:
    """The plug-in module, or UsageError naming the nearest of those that are known and ``fits``."""
    known = names(package)
    if name not in known:
        offered = [other for other, module in each(package) if fits(module)] or known
        close = nearest(name, offered)
        hint = f"did you mean {close!r}?" if close else f"known: {', '.join(offered)}"
        raise UsageError(f"no {_one_of(package)} called {name[:60]!r} ({hint})")
    return importlib.import_module(f"bench.{package}.{name.replace('-', '_')}")


def _one_of(package: str) -> str:
    """``quantise scheme``, ``runtime``: what a plug-in of the package is called."""
    above, _, last = package.rpartition(".")
    return f"{last} scheme" if above == "optimisations" else last.removesuffix("s")


def describe(module: ModuleType) -> str:
    """The first line of the module's docstring."""
    return (module.__doc__ or "").strip().splitlines()[0].rstrip(".")


def missing_packages(module: ModuleType) -> tuple[str, ...]:
    """The packages in the module's ``REQUIRES`` that this interpreter cannot find (nothing is imported)."""
    wanted: tuple[str, ...] = getattr(module, "REQUIRES", ())
    return tuple(name for name in wanted if not _is_there(name))


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of ``optimum.quanto`` the parent is missing
        return False


def each(package: str) -> Iterator[tuple[str, ModuleType]]:
    """(YAML name, module) of every plug-in in ``bench.<package>``."""
    for name in names(package):
        yield name, load(package, name)
