"""llama.cpp's server, started for the run; it serves the model's GGUF file as it is."""

from __future__ import annotations

from bench.runtimes._server import DTYPES, REQUIRES, StartedParams

__all__ = ["DTYPES", "REQUIRES"]
SERVER = True
OPAQUE = True  # nobody sees which files of its commit the server reads
USES = ("name", "python", "threads")
FLAGS = {"threads": "--threads"}  # keys of the runtime block that become arguments
GGUF = True
Params = StartedParams
