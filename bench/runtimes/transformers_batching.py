"""The continuous batching of transformers, in process: requests without a server between."""

from __future__ import annotations

from bench.runtimes._server import DTYPES, InProcessParams

__all__ = ["DTYPES"]
REQUIRES = ("transformers", "torch")
SERVER = True  # it is put under load as one
OPAQUE = True  # nobody sees which files of its commit the engine reads
USES = ("name", "python", "dtype", "device", "threads")
FLAGS = {"dtype": "--dtype", "device": "--device", "threads": "--threads"}
GGUF = False
Params = InProcessParams
