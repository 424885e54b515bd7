"""What a batch of requests takes, counted and not timed: the same on every machine and in every run.

Counted in a pass of its own, since counting slows the calls down. An engine whose model is not a torch
module gives its tokens; what cannot be counted in it is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from bench.runtimes import Engine


def count(engine: Engine, batch: Sequence[Sequence[int]], new_tokens: int) -> dict[str, Any]:
    """Tokens, forward calls of the whole model, floating-point operations (torch's flop counter: matrix
    products, convolutions and attention) and bytes of KV cache for one batch."""
    with ExitStack() as stack:
        calls = stack.enter_context(_forward_calls(engine.model))
        flops = stack.enter_context(_flops(engine.model))
        generation = engine.prefill(batch, new_tokens)
        for _ in range(1, new_tokens):
            engine.step(generation)
        engine.synchronise()
    cache_bytes = getattr(engine, "cache_bytes", None)
    return {
        "requests": len(batch),
        "input_tokens": sum(map(len, batch)),
        "output_tokens": sum(map(len, engine.tokens(generation))),
        "forward_calls": calls[0] if calls else None,
        "flops": flops.get_total_flops() if flops is not None else None,
        "kv_cache_bytes": cache_bytes(generation) if cache_bytes is not None else None,
    }


@contextmanager
def _forward_calls(model: Any) -> Iterator[list[int]]:
    """A list of one number, counted up at each call of the model; empty where it cannot be watched."""
    if not hasattr(model, "register_forward_pre_hook"):
        yield []
        return
    calls = [0]

    def one_more(_module: Any, _arguments: Any) -> None:
        calls[0] += 1

    handle = model.register_forward_pre_hook(one_more)
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def _flops(model: Any) -> Iterator[Any]:
    if not hasattr(model, "register_forward_pre_hook"):
        yield None
        return
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        yield counter
