"""vLLM's engine in process, without its server: on a GPU, or the CPU build in the environment of ``vllm``."""

from __future__ import annotations

from bench.runtimes._server import DTYPES, FLAGS, USES, InProcessParams

__all__ = ["DTYPES", "FLAGS", "USES"]
REQUIRES = ()
SERVER = True  # it is put under load as one
OPAQUE = True  # nobody sees which files of its commit the engine reads
GGUF = False
Params = InProcessParams
