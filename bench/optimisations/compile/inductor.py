"""Compile the decode step with torch.compile; a static KV cache keeps its shapes constant.

Source: ``torch.compile`` with TorchInductor. The prompt is still read eagerly. The number of tokens that the
cache has room for is a power of two. Another batch size or another room needs another graph; it is compiled
in the warm-up, never in a timed step. On CUDA, ``mode: reduce-overhead`` replays the step as a CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bench.engine import Changed
from bench.engine.evidence import Census, Check, check

REQUIRES = ("torch",)  # on a CPU it also needs a C++ compiler
DECODING = True
MOST_GRAPHS = 16  # one for each shape; torch's own limit is 8, after which steps go on without a graph
KERNEL = r"CompiledFxGraph|Torch-Compiled Region|CUDAGraph"


@dataclass(frozen=True)
class Params:
    """``mode`` is the mode of torch.compile.

    The cache always has room for at least ``least_tokens`` tokens.
    """

    mode: Literal["default", "reduce-overhead", "max-autotune"] = "default"
    least_tokens: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.least_tokens <= 1_048_576:
            raise ValueError(f"least_tokens must be 1 to 1048576, not {self.least_tokens}")


def apply(model: Any, params: Params) -> Changed:
    """Compile the decode step and give the model a static cache.

    Raises Unsupported on a CPU without a C++ compiler.
    """
    import torch
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from transformers import StaticCache

    from bench.errors import Unsupported

    if next(model.parameters()).device.type == "cpu":
        try:
            get_cpp_compiler()
        except InvalidCxxCompiler as none:
            raise Unsupported(
                "torch.compile needs a C++ compiler for the CPU: install g++ or clang"
            ) from none
    caches: dict[tuple[int, int], Any] = {}

    def make_cache(sequences: int, tokens: int) -> Any:
        """Return the same emptied tensors for each shape: a new address could need a new graph."""
        room = max(params.least_tokens, 1 << (tokens - 1).bit_length())
        if (sequences, room) not in caches:
            caches[sequences, room] = StaticCache(config=model.config, max_cache_len=room)
        caches[sequences, room].reset()
        return caches[sequences, room]

    torch._dynamo.config.recompile_limit = MOST_GRAPHS
    step = torch.compile(model, mode=None if params.mode == "default" else params.mode)
    return Changed(model, make_cache, step)


def evidence(before: Census, after: Census, params: Params) -> list[Check]:
    """Check that a short request was decoded by compiled graphs and with a static cache."""
    new = after.decoding
    static = new is not None and all("Static" in name for name in new.cache)
    return [
        check("the decode step is compiled", new and new.compiled, bool(new and new.compiled), True),
        check("keys and values held by", new and new.held_by, static, "static layers"),
    ]
