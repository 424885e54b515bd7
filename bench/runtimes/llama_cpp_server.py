"""llama.cpp's server, started for the run; it serves the model's GGUF file as it is."""

from __future__ import annotations

from dataclasses import dataclass

from bench.runtimes._server import DTYPES, REQUIRES, StartedParams

__all__ = ["DTYPES", "REQUIRES"]
SERVER = True
OPAQUE = True  # nobody sees which files of its commit the server reads
USES = ("name", "python", "threads")
FLAGS = {"threads": "--threads"}  # keys of the runtime block that become arguments
GGUF = True
BODY = {"keep_prompts": "cache_prompt"}  # keys of the runtime block that go into each request


@dataclass(frozen=True)
class Params(StartedParams):
    """``keep_prompts``: a slot keeps its last prompt, and of the next one it computes only what is new. It is
    off for a comparison of engines, which must not profit from it. The others are as in ``vllm``."""

    keep_prompts: bool = False
