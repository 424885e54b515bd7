"""The server of the library transformers (``transformers serve``), started for the run."""

from __future__ import annotations

from bench.runtimes._server import DTYPES, REQUIRES, StartedParams

__all__ = ["DTYPES", "REQUIRES"]
SERVER = True
OPAQUE = True  # nobody sees which files of its commit the server reads
USES = ("name", "python", "dtype", "device")
FLAGS = {"dtype": "--dtype", "device": "--device"}  # keys of the runtime block that become arguments
GGUF = False
Params = StartedParams
