"""vLLM's server, started for the run: a GPU, or the CPU build in an environment of its own."""

from __future__ import annotations

from bench.runtimes._server import REQUIRES, StartedParams

__all__ = ["REQUIRES"]
SERVER = True
OPAQUE = True  # nobody sees which files of its commit the server reads
DTYPES = ("float32", "bfloat16", "float16")
USES = ("name", "python", "dtype")
FLAGS = {"dtype": "--dtype"}  # keys of the runtime block that become arguments
GGUF = False
Params = StartedParams
