"""Measure what an inference optimisation costs, and what it does to the model.

``from bench import run, compare, load_run`` gives the Python API (see ``bench.api``). Importing this package
imports nothing heavy: the names below are looked up when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
_HOMES = {"run": "bench.api", "compare": "bench.api", "load_run": "bench.api", "Run": "bench.api"}

if TYPE_CHECKING:
    from bench.api import Run, compare, load_run, run

__all__ = ["Run", "__version__", "compare", "load_run", "run"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
