"""Compare two sets of greedy replies to the same prompts. A reply ends before its first end token.

Generation runs to a fixed length, because it is timed. Tokens after the end token are never compared.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.drift.edit_distance import edit_distance
from bench.drift.survival import Followed, followed
from bench.records import ArmRecord
from bench.records.thinking import before_end
from bench.stats.intervals import Interval, bootstrap_interval, ratio_interval

Reply = tuple[int, ...]
MOST_CUT = 0.5  # if a larger share of replies was cut, their lengths say nothing
GUARD = (0.9, 1.1)  # MLPerf flags a ratio of lengths outside this band


def replies(arm: ArmRecord) -> list[Reply]:
    """Return the replies of a row's solo pass, in the order of the requests."""
    return [tuple(before_end(tokens, arm.end_ids)) for batch in arm.solo for tokens in batch.tokens]


def pairs(base: ArmRecord, variant: ArmRecord) -> list[tuple[Reply, Reply]]:
    """Return (baseline's reply, variant's reply) for each prompt."""
    return list(zip(replies(base), replies(variant), strict=True))


def exact_match(both: Sequence[tuple[Reply, Reply]]) -> Interval:
    """Return the share of identical replies."""
    return bootstrap_interval([[float(a == b)] for a, b in both])


def first_divergence(both: Sequence[tuple[Reply, Reply]]) -> Interval:
    """Return the mean index of the first differing token; identical replies count with their length."""
    pairs_followed = [followed(a, b) for a, b in both]
    return bootstrap_interval([[float(pair.token - pair.differs)] for pair in pairs_followed])


def divergence_rate(followed_pairs: Sequence[Followed]) -> Interval | None:
    """Return the chance that the next token is the first to differ; None if there is no token.

    Every token up to and including the first difference counts as one trial.
    """
    trials = [[0.0] * (pair.token - 1) + [float(pair.differs)] for pair in followed_pairs if pair.token]
    return bootstrap_interval(trials) if trials else None


def edits(both: Sequence[tuple[Reply, Reply]]) -> Interval:
    """Return the mean edit distance of two replies as a share of the longer one; 0 if both are empty."""
    return bootstrap_interval([[edit_distance(a, b) / max(len(a), len(b), 1)] for a, b in both])


def length_ratio(both: Sequence[tuple[Reply, Reply]]) -> Interval | None:
    """Return Σ variant's length ÷ Σ baseline's, with an interval over replies.

    The ratio is None if all replies of the baseline are empty.
    """
    theirs, ours = ([float(len(pair[side])) for pair in both] for side in (0, 1))
    if not sum(theirs):
        return None
    return ratio_interval(ours, theirs) if sum(ours) else Interval(0.0, None, None)


def cut_share(base: ArmRecord, variant: ArmRecord) -> float:
    """Return the share of both sides' replies that reached the output limit; their full length is unknown."""
    ended = [
        bool(set(tokens) & set(arm.end_ids))
        for arm in (base, variant)
        for batch in arm.solo
        for tokens in batch.tokens
    ]
    return 1 - sum(ended) / len(ended)
