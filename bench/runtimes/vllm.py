"""vLLM's server, started for the run: a GPU, or the CPU build in an environment of its own."""

from __future__ import annotations

from bench.runtimes._server import DTYPES, FLAGS, REQUIRES, USES, StartedParams

__all__ = ["DTYPES", "FLAGS", "REQUIRES", "USES"]
SERVER = True
OPAQUE = True  # nobody sees which files of its commit the server reads
GGUF = False
Params = StartedParams
