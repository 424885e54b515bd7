"""Decode a batch of replies: all tokens that were asked for, or until every reply has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.engine import Engine

CHECK_EVERY = 4  # steps; checking whether all replies have ended costs time


def in_full(engine: Engine, prompts: Sequence[Sequence[int]], tokens: int) -> Any:
    """Decode ``tokens`` tokens of each reply, past its end too, and return the generation when it is done."""
    generation = engine.prefill(prompts, tokens)
    for _ in range(1, tokens):
        engine.step(generation)
    engine.synchronise()
    return generation


def until_ended(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    enough: Callable[[Sequence[int]], bool] | None = None,
) -> Any:
    """Decode up to ``tokens`` tokens, or until all replies have ended, and return the generation.

    ``enough`` may say for the tokens of a reply that no more are needed.
    """
    generation = engine.prefill(prompts, 1 if engine.WHOLE_ANSWERS else tokens)
    return to_its_end(engine, generation, tokens, enough)


def to_its_end(
    engine: Engine, generation: Any, tokens: int, enough: Callable[[Sequence[int]], bool] | None = None
) -> Any:
    """Decode a generation whose prompts are read as ``until_ended`` does."""
    ends = set(engine.end_ids())
    for step in range(1, 1 if engine.WHOLE_ANSWERS else tokens):
        if step % CHECK_EVERY == 0 and all(
            ends & set(ids) or (enough is not None and enough(ids)) for ids in engine.tokens(generation)
        ):
            break
        engine.step(generation)
    return generation
