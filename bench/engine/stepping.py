"""Check after loading that decoding step by step computes what one pass over the same tokens computes.

A model that takes no cache and ignores the argument decodes each token without its context; a model that sees
the future, or whose mask is wrong, scores a text that it could never have written. Both run at full speed and
without an error, and every figure of them is of another model than the one that is scored.
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
# How far below the best logit of the whole pass a decoded token may lie, as a mean over the tokens, in
# standard deviations of the logits: in float32, and in dtypes that round or with packed weights. Rounding
# gives 1e-4 and 0.05; tokens that were decoded without their context lie 1 to 4 below.
MOST_BELOW, MOST_BELOW_ROUNDED = 0.02, 0.3
# The same for a padded batch in float32: learned positions that padding has moved lie 0.007 to 0.1 below.
MOST_BELOW_PADDED = 0.002
CAUSAL = "logits of a token do not depend on later tokens"
ALONE = "a shorter prompt of a batch is decoded as it is alone"
AS_ONE_PASS = "tokens decoded step by step are those of one pass"


def probe(length: int, vocabulary: int, shift: int = 0, kinds: int = 97) -> list[int]:
    """Return a prompt of tokens that every model has: they count from 3 on, behind the usual special tokens,
    and begin again after so many ``kinds``. A model of letters has fewer."""
    kinds = max(min(kinds, vocabulary - 3), 1)
    return [((number + shift) % kinds + 3) % vocabulary for number in range(length)]


def by_steps(engine: Engine, facts: Facts) -> tuple[list[Check], float | None]:
    """Return the checks, and the bytes that one more token added to the cache; None if they cannot be seen.

    What does not grow is not a token's, such as the state of a linear layer.

    There are none for a model whose logits are not finite, which is found elsewhere, or for an engine that
    has none.
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
    apart = [_apart(*rows) for rows in zip(alone, whole[:length], strict=True)]
    if not all(map(math.isfinite, (*below, *apart))):
        return [], a_token
    most = _most(facts)
    mean, moved = math.fsum(below) / len(below), math.fsum(apart) / len(apart)
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
    length = max(min(tokens, room - steps), 1)
    return length, max(min(steps, room - length), 1)


def by_batch(engine: Engine, facts: Facts) -> list[Check]:
    """Return the check of a batch of two lengths, in which the shorter prompt is padded on the left.

    An architecture that reads the padding, or counts positions from it, writes another text than it would
    alone. There is no check of logits that are not finite.
    """
    room = facts.context or PROMPT_TOKENS + STEPS
    steps = max(min(STEPS, room // 2), 1)
    longest = max(min(PROMPT_TOKENS, room - steps), 1)
    prompts = [
        probe(length, facts.vocabulary, 7 * row) for row, length in enumerate((longest, max(longest // 2, 1)))
    ]
    generation = engine.prefill(prompts, steps + 1)
    for _ in range(steps):
        engine.step(generation)
    below: list[float] = []
    for prompt, chosen in zip(prompts, engine.tokens(generation), strict=True):
        below += _all_below(engine.logits([*prompt, *chosen[:-1]])[len(prompt) - 1 :], chosen)
    if not all(map(math.isfinite, below)):
        return []
    most, mean = _most(facts, MOST_BELOW_PADDED), math.fsum(below) / len(below)
    holds = mean <= most
    hint = "" if holds else "; the architecture reads the padding: set batch_size to 1, or use workload fixed"
    return [check(ALONE, f"{mean:.2g} sd of the logits below the best{hint}", holds, f"at most {most}")]


def _most(facts: Facts, exactly: float = MOST_BELOW) -> float:
    exact = facts.dtype == "float32" and facts.quantised_checkpoint is None
    return exactly if exact else MOST_BELOW_ROUNDED


def _all_below(rows: Any, tokens: Sequence[int]) -> list[float]:
    return [_below(row, token) for row, token in zip(rows, tokens, strict=True)]


def _below(row: Any, token: int) -> float:
    """Return how far a token lies below the best one, in standard deviations of the row."""
    spread = float(row.std())
    return float(row.max() - row[token]) / spread if spread > 0 else 0.0


def _apart(row: Any, other: Any) -> float:
    """Return how far two rows of logits are apart, as a mean and in standard deviations of the first."""
    spread = float(row.std())
    return float(abs(row - other).mean()) / spread if spread > 0 else 0.0
