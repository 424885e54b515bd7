"""Compare two sets of greedy replies to the same prompts. A reply ends before its first end-of-text token.

Generation runs to a fixed length, for timing; what follows the end token is never compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import ArmRecord
from bench.records.thinking import before_end
from bench.stats.intervals import Interval, bootstrap_interval

Reply = tuple[int, ...]


def replies(arm: ArmRecord) -> list[Reply]:
    """Return the replies of the solo pass, in the order of the requests."""
    return [tuple(before_end(tokens, arm.end_ids)) for batch in arm.solo for tokens in batch.tokens]


def pairs(base: ArmRecord, variant: ArmRecord) -> list[tuple[Reply, Reply]]:
    """Return (baseline's reply, variant's reply) for each prompt."""
    return list(zip(replies(base), replies(variant), strict=True))


def exact_match(found: Sequence[tuple[Reply, Reply]]) -> Interval:
    """Return the share of identical replies."""
    return bootstrap_interval([[float(a == b)] for a, b in found])


def first_divergence(found: Sequence[tuple[Reply, Reply]]) -> Interval:
    """Return the mean index of the first differing token; the common length counts if there is none."""
    return bootstrap_interval([[float(_divergence(a, b))] for a, b in found])


def _divergence(a: Reply, b: Reply) -> int:
    same = (index for index, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    return next(same, min(len(a), len(b)))


def length_ratio(found: Sequence[tuple[Reply, Reply]]) -> float | None:
    """Return Σ variant's length ÷ Σ baseline's; None if all replies of the baseline are empty."""
    below = sum(len(a) for a, _ in found)
    return sum(len(b) for _, b in found) / below if below else None


def cut_share(base: ArmRecord, variant: ArmRecord) -> float:
    """Return the share of replies, of both, that reached the output limit; the ratio cannot see past it."""
    tokens = [t for arm in (base, variant) for batch in arm.solo for t in batch.tokens]
    ended = sum(1 for arm in (base, variant) for b in arm.solo for t in b.tokens if set(t) & set(arm.end_ids))
    return 1 - ended / len(tokens)
