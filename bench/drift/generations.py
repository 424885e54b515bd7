"""Compare two sets of greedy replies to the same prompts. A reply ends before its first end-of-text token.

Generation runs to a fixed length, for timing; what follows the end token is never compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.drift.edit_distance import edit_distance
from bench.drift.survival import Followed, followed
from bench.records import ArmRecord
from bench.records.thinking import before_end
from bench.stats.intervals import Interval, bootstrap_interval, ratio_interval

Reply = tuple[int, ...]
MOST_CUT = 0.5  # if the ends of more replies were not seen, their lengths are no lengths of replies
GUARD = (0.9, 1.1)  # MLPerf flags replies whose lengths are outside this band


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
    seen = [followed(a, b) for a, b in found]
    return bootstrap_interval([[float(one.token - one.differs)] for one in seen])


def divergence_rate(seen: Sequence[Followed]) -> Interval | None:
    """Return how many replies differ per token that was still the same before it; None without a token."""
    tokens = [[0.0] * (one.token - 1) + [float(one.differs)] for one in seen if one.token]
    return bootstrap_interval(tokens) if tokens else None


def edits(found: Sequence[tuple[Reply, Reply]]) -> Interval:
    """Return the mean edit distance of two replies as a share of the longer one; 0 for two empty ones."""
    return bootstrap_interval([[edit_distance(a, b) / max(len(a), len(b), 1)] for a, b in found])


def length_ratio(found: Sequence[tuple[Reply, Reply]]) -> Interval | None:
    """Return Σ variant's length ÷ Σ baseline's, with an interval over replies; None if all replies of the
    baseline are empty."""
    theirs, ours = ([float(len(pair[side])) for pair in found] for side in (0, 1))
    if not sum(theirs):
        return None
    return ratio_interval(ours, theirs) if sum(ours) else Interval(0.0, None, None)


def cut_share(base: ArmRecord, variant: ArmRecord) -> float:
    """Return the share of replies, of both, that reached the output limit; the ratio cannot see past it."""
    tokens = [t for arm in (base, variant) for batch in arm.solo for t in batch.tokens]
    ended = sum(1 for arm in (base, variant) for b in arm.solo for t in b.tokens if set(t) & set(arm.end_ids))
    return 1 - ended / len(tokens)
