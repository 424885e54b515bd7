"""The server of the library transformers (``transformers serve``), started for the run."""

from __future__ import annotations

from bench.runtimes._server import REQUIRES, StartedParams

__all__ = ["REQUIRES"]
SERVER = True
OPAQUE = True  # nobody sees which files of its commit the server reads
DTYPES = ("float32", "bfloat16", "float16")
USES = ("name", "python", "dtype", "device")
FLAGS = {"dtype": "--dtype", "device": "--device"}  # keys of the runtime block that become arguments
GGUF = False
Params = StartedParams
