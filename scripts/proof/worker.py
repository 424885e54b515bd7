"""Start a worker that also knows the runtime ``toy``: ``worker.py bench/worker/__main__.py …``."""

from __future__ import annotations

import importlib.abc
import importlib.util
import runpy
import sys
from pathlib import Path

TOY = Path(__file__).resolve().parent / "runtimes" / "toy.py"


class Toy(importlib.abc.MetaPathFinder):
    """Find ``bench.runtimes.toy`` in whichever ``bench`` the worker registers."""

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        """Return the spec of that one module, else None."""
        return (
            importlib.util.spec_from_file_location(fullname, TOY)
            if fullname == "bench.runtimes.toy"
            else None
        )


sys.meta_path.insert(0, Toy())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
