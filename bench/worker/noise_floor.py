"""Compute again what was computed, in other circumstances: other shapes, threads, or a batch.

Nothing here is timed. What comes out differently although nothing was changed is the noise below which no
drift can be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.engine import Engine
from bench.engine.decoding import in_full
from bench.errors import Unsupported
from bench.records import DriftWindow, Together, Windows
from bench.worker.score import compared, predictions

SHAPES, THREADS, BATCH = "shapes", "threads", "batch"
MOST_REQUESTS, MOST_TOKENS = 4, 16


def noise_floor(engine: Engine, windows: Sequence[Sequence[int]], extra: Sequence[int], how: str) -> Windows:
    """Compare the baseline with itself on some windows; no window where ``how`` is not possible.

    ``shapes`` appends ``extra`` tokens, which changes the shapes of all kernels and nothing else. ``threads``
    uses another number of threads, ``batch`` puts each window beside another one.
    """
    found: list[DriftWindow] = []
    for number, ids in enumerate(windows):
        alone = predictions(engine, ids)
        beside = windows[number - 1]
        again = _again(engine, ids, extra if how == SHAPES else beside, how)
        if again is None:
            return Windows(())
        found.append(compared(alone, again[: len(alone)], ids[1:]))
    return Windows(tuple(found))


def _again(engine: Engine, ids: Sequence[int], other: Sequence[int], how: str) -> Any:
    if how == SHAPES:
        return engine.logits([*ids, *other])
    if how == BATCH:
        both = engine.logits_in_batch([ids, other]) if len(ids) == len(other) else None
        return None if both is None else both[0]
    facts = engine.facts()
    if not engine.TORCH or facts.on_gpu or facts.threads is None:
        return None
    with other_threads():
        return engine.logits(ids)


@contextmanager
def other_threads() -> Iterator[None]:
    """Compute with one thread, or with two where there is one."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(2 if usual == 1 else 1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def together(engine: Engine, batches: Sequence[Sequence[Sequence[int]]], new_tokens: int) -> Together:
    """Decode up to four prompts alone and in one batch, and count those whose tokens differ.

    Nothing is decoded where the engine refuses a batch or speculates for one sequence, where answers come as
    a whole, and where each shape is compiled.
    """
    prompts = [prompt for batch in batches for prompt in batch][:MOST_REQUESTS]
    if why := _why_not(engine, prompts):
        return Together(0, 0, why)
    most = min(new_tokens, MOST_TOKENS)
    try:
        in_batch = _decoded(engine, prompts, most)
    except Unsupported as why_not:
        return Together(0, 0, why_not.reason)
    alone = [_decoded(engine, [prompt], most)[0] for prompt in prompts]
    differ = sum(one != other for one, other in zip(alone, in_batch, strict=True))
    return Together(len(prompts), differ)


def _why_not(engine: Engine, prompts: Sequence[Sequence[int]]) -> str:
    if engine.WHOLE_ANSWERS:
        return "answers come as a whole"
    if engine.compiled_graphs():
        return "another shape would be compiled first"
    if prompts and engine.drafted(prompts[0], 1) is not None:
        return "it speculates for one sequence at a time"
    return "" if len(prompts) > 1 else "there is one request"


def _decoded(engine: Engine, prompts: Sequence[Sequence[int]], tokens: int) -> list[list[int]]:
    return engine.tokens(in_full(engine, prompts, tokens))
