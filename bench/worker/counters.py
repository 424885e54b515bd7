"""Count the work of a batch of requests. Counts, unlike times, do not vary with the machine's load.

Counting has a pass of its own, because it slows the calls down. Tokens are counted for every engine. A count
that an engine cannot give is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.engine import Engine, Work
from bench.records import Counted


def count(engine: Engine, batch: Sequence[Sequence[int]], new_tokens: int) -> Counted:
    """Count tokens, forward calls, floating-point operations and bytes of KV cache for one batch. Forward
    calls are those of the whole model. For torch, its flop counter gives the operations: matrix products and
    convolutions, and attention on CUDA only."""
    engine.split_work()
    with _watching(engine) as work:
        generation = engine.prefill(batch, new_tokens)
        for _ in range(1, new_tokens):
            engine.step(generation)
        engine.synchronise()
    calls, flops = (work[0].forward_calls, work[0].flops) if work else (None, None)
    if (split := engine.split_work()) is not None:  # not seen: the operations of the other process
        calls, flops = (calls or 0) + split.prefill.passes + split.decode.passes, None
    return Counted(
        requests=len(batch),
        input_tokens=sum(map(len, batch)),
        output_tokens=sum(map(len, engine.tokens(generation))),
        forward_calls=calls,
        flops=flops,
        kv_cache_bytes=engine.cache_bytes(generation),
    )


@contextmanager
def _watching(engine: Engine) -> Iterator[list[Work]]:
    """Yield a list that holds the work of the block afterwards, or stays empty if it cannot be counted."""
    found: list[Work] = []
    before = engine.work()
    if before is not None:
        yield found
        after = engine.work()
        assert after is not None, "an engine that counts goes on counting"
        found.append(Work(after.forward_calls - before.forward_calls, after.flops - before.flops))
    elif hasattr(engine.model, "register_forward_pre_hook"):
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        eager = torch.compiler.set_stance("force_eager")  # counting would compile graphs again
        counter = FlopCounterMode(display=False, custom_mapping=_of_attention())
        with eager, _forward_calls(engine.model) as calls, counter as flops:
            yield found
        found.append(Work(calls[0], flops.get_total_flops()))
    else:
        yield found


def _of_attention() -> dict[Any, Callable[..., int]]:
    """Return our formula for each operator of attention on CUDA. That of torch 2.11 raises
    AssertionError where several heads of queries share one of keys."""
    import torch

    aten = torch.ops.aten
    kernels = (
        aten._scaled_dot_product_flash_attention,
        aten._scaled_dot_product_efficient_attention,
        aten._scaled_dot_product_cudnn_attention,
    )
    return dict.fromkeys(kernels, attention_flops)


def attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_more: object, **_named: object
) -> int:
    """Return the operations of attention from its shapes [batch, heads, tokens, size]: two products for each
    head of the queries, however many heads the keys have. As in torch, a causal mask saves nothing."""
    batch, heads, queries, size = query
    return 2 * batch * heads * queries * key[2] * (size + value[3])


@contextmanager
def _forward_calls(model: Any) -> Iterator[list[int]]:
    """Yield a list with one number, which each call of the model increases by one."""
    calls = [0]

    def one_more(_module: Any, _arguments: Any) -> None:
        calls[0] += 1

    handle = model.register_forward_pre_hook(one_more)
    try:
        yield calls
    finally:
        handle.remove()
