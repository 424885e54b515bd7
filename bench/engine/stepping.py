"""Check after loading that decoding step by step computes the same as one pass over all tokens.

A model that ignores its cache decodes each token without the context. A model with a wrong mask uses later
tokens when it scores a text. Both run at full speed and without an error, but the model whose speed is
measured is then not the model whose text is scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.engine.evidence import Check, check
from bench.records import Facts

if TYPE_CHECKING:
    from bench.engine import Engine

PROMPT_TOKENS, STEPS = 48, 12
# The same for a model of so many parameters on a CPU, where each step reads all weights from memory again.
# What is looked for shows at the first step that has no context, and published models have no windows of
# fewer than 128 tokens.
LARGE, FEW_TOKENS, FEW_STEPS = 1_000_000_000, 16, 4
# How far below the best logit of the single pass a decoded token may lie, as a mean over the tokens and in
# standard deviations of the logits. The first is for float32, the second for dtypes with fewer bits and for
# packed weights. Rounding gives 1e-4 and 0.05; tokens decoded without their context lie 1 to 4 below.
MOST_BELOW, MOST_BELOW_ROUNDED = 0.02, 0.3
# The same for a padded batch in float32: if padding shifts learned positions, tokens lie 0.007 to 0.1 below.
MOST_BELOW_PADDED = 0.002
CAUSAL = "logits of a token do not depend on later tokens"
ALONE = "a shorter prompt of a batch is decoded as it is alone"
EVEN = "prompts of one length are decoded in a batch as they are alone"
AS_ONE_PASS = "tokens decoded step by step are those of one pass"


def probe(length: int, vocabulary: int, shift: int = 0, kinds: int = 97) -> list[int]:
    """Return a prompt of ``length`` token ids that every model has.

    The ids count up from 3, which is after the usual special tokens, and start again after ``kinds`` ids, or
    fewer for a small vocabulary.
    """
    kinds = max(min(kinds, vocabulary - 3), 1)
    return [((number + shift) % kinds + 3) % vocabulary for number in range(length)]


def that_fit(most: int, new_tokens: int, context: int | None) -> int:
    """Return the tokens of a prompt that leaves room for ``new_tokens`` in the context: at most ``most``, and
    at least 1."""
    return max(min(most, (context or most + new_tokens) - new_tokens), 1)


def by_steps(engine: Engine, facts: Facts) -> tuple[list[Check], float | None]:
    """Return the checks, and the bytes that one more token adds to the cache (None if they cannot be read).

    Memory that does not grow, such as the state of linear attention, does not belong to a token. There are no
    checks for an engine without logits, or for logits that are not finite, which another check reports.
    """
    length, steps = _amount(engine, facts)
    prompt = probe(length, facts.vocabulary)
    generation = engine.prefill([prompt], steps + 1)
    before = engine.cache_bytes(generation)
    for _ in range(steps):
        engine.step(generation)
    chosen = engine.tokens(generation)[0]
    held = engine.cache_bytes(generation)
    a_token = None if held is None or before is None else (held - before) / steps
    try:
        whole, alone = engine.logits([*prompt, *chosen[:-1]]), engine.logits(prompt)
    except NotImplementedError:  # an engine that is never scored
        return [], a_token
    below = _all_below(whole[length - 1 :], chosen)
    moves = [apart(*rows) for rows in zip(alone, whole[:length], strict=True)]
    if not all(map(math.isfinite, (*below, *moves))):
        return [], a_token
    most = _most(facts)
    mean, moved = math.fsum(below) / len(below), math.fsum(moves) / len(moves)
    found = f"{mean:.2g} sd of the logits below the best, over {len(below)} tokens"
    return [
        check(CAUSAL, f"moved by {moved:.2g} sd of the logits", moved <= most, f"at most {most}"),
        check(AS_ONE_PASS, found, mean <= most, f"at most {most}"),
    ], a_token


def _amount(engine: Engine, facts: Facts) -> tuple[int, int]:
    """Return the tokens of the prompt and of the reply; both fit the context."""
    few = not facts.on_gpu and engine.parameters() >= LARGE
    tokens, steps = (FEW_TOKENS, FEW_STEPS) if few else (PROMPT_TOKENS, STEPS)
    room = facts.context or tokens + steps
    length = that_fit(tokens, steps, facts.context)
    return length, max(min(steps, room - length), 1)


def by_batch(engine: Engine, facts: Facts, *, padded: bool = True) -> list[Check]:
    """Return the check of a batch of two lengths, in which the shorter prompt is padded on the left; if not
    ``padded``, of two prompts of one length.

    An architecture that reads the padding, or counts positions from it, writes another text in the batch than
    alone. So does one that mixes the rows of a batch: RWKV of transformers 5.17, in every step. There is no
    check if the logits are not finite.
    """
    lengths, steps = _amount_of_two(facts) if padded else _amount_even(engine, facts)
    prompts = [probe(length, facts.vocabulary, 7 * row) for row, length in enumerate(lengths)]
    generation = engine.prefill(prompts, steps + 1)
    for _ in range(steps):
        engine.step(generation)
    below: list[float] = []
    for prompt, chosen in zip(prompts, engine.tokens(generation), strict=True):
        below += _all_below(engine.logits([*prompt, *chosen[:-1]])[len(prompt) - 1 :], chosen)
    if not all(map(math.isfinite, below)):
        return []
    most, mean = _most(facts, MOST_BELOW_PADDED if padded else MOST_BELOW), math.fsum(below) / len(below)
    holds = mean <= most
    fault = (
        "reads the padding: set batch_size to 1, or use workload fixed"
        if padded
        else "mixes the rows of a batch: set batch_size to 1"
    )
    hint = "" if holds else f"; the architecture {fault}"
    found = f"{mean:.2g} sd of the logits below the best{hint}"
    return [check(ALONE if padded else EVEN, found, holds, f"at most {most}")]


def _amount_of_two(facts: Facts) -> tuple[tuple[int, int], int]:
    room = facts.context or PROMPT_TOKENS + STEPS
    steps = max(min(STEPS, room // 2), 1)
    longest = that_fit(PROMPT_TOKENS, steps, facts.context)
    return (longest, max(longest // 2, 1)), steps


def _amount_even(engine: Engine, facts: Facts) -> tuple[tuple[int, int], int]:
    length, steps = _amount(engine, facts)
    return (length, length), steps


def _most(facts: Facts, in_float32: float = MOST_BELOW) -> float:
    exact = facts.dtype == "float32" and facts.quantised_checkpoint is None
    return in_float32 if exact else MOST_BELOW_ROUNDED


def _all_below(rows: Any, tokens: Sequence[int]) -> list[float]:
    return [_below(row, token) for row, token in zip(rows, tokens, strict=True)]


def _below(row: Any, token: int) -> float:
    """Return how far a token's logit lies below the best one, in standard deviations of the row."""
    spread = float(row.std())
    return float(row.max() - row[token]) / spread if spread else 0.0  # of NaN, NaN


def apart(row: Any, other: Any) -> float:
    """Return the mean absolute difference of two rows of logits, in standard deviations of the first."""
    spread = float(row.std())
    return float(abs(row - other).mean()) / spread if spread else 0.0  # of NaN, NaN
