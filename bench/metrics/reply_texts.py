"""Compare a server's greedy replies with the baseline's as text, if the server reports no probabilities.

The tokens of two servers may differ although their texts are equal, so characters are compared. The
statistics are the same as for the replies of other rows (``bench.drift.generations``).
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.drift import generations as drift
from bench.drift import survival
from bench.records import ArmRecord, RunRecord, SaidTexts
from bench.stats.figure import SHARE, Figures, Metric

_OVER = "; interval by bootstrap over replies"
EXACT = Metric(
    "text_exact_match",
    "1",
    "higher",
    f"share of replies with the same text{_OVER}",
    "share of equal replies",
    range=SHARE,
)
DIVERGENCE = Metric(
    "first_divergence_char", "char", "higher",
    f"mean number of characters before the first that differs (all, if none does){_OVER}",
    "where replies begin to differ",
)  # fmt: skip
MEDIAN = Metric(
    "median_divergence_char", "char", "higher",
    "character by which half of the replies differ (Kaplan-Meier; censored where a reply ends without "
    "differing)", "character by which half of the replies differ",
)  # fmt: skip
EDITS = Metric(
    "text_edit_distance", "1", "lower",
    f"mean Levenshtein distance of the characters ÷ the longer reply{_OVER}", "how much of a reply changed",
    range=SHARE,
)  # fmt: skip
LENGTH = Metric(
    "text_length_ratio",
    "1",
    None,
    f"Σ characters of the replies ÷ Σ the baseline's{_OVER}",
    "length of replies ÷ the baseline's",
)
PLACE = 10.1
METRICS = (EXACT, DIVERGENCE, MEDIAN, EDITS, LENGTH)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of a row whose texts were compared; None for any other row."""
    if not arm.said:
        return {metric.key: None for metric in METRICS}
    itself = [(reply.baseline, reply.again) for reply in arm.said]
    return compared(arm.said, itself, run.spec.get("drift", {}).get("window"), run.text.get("name"))


def compared(
    replies: Sequence[SaidTexts],
    itself: Sequence[tuple[str, str]],
    output_tokens: int | None,
    text: str | None,
) -> Figures:
    """Return the figures of replies of at most ``output_tokens`` tokens to pieces of a ``text``.

    ``itself`` holds two replies of the same server to each prompt. ``again`` in the notes is the same figure
    for these; a figure that is no worse than ``again`` shows no drift. ``cut`` is the share of both sides'
    replies that reached the limit.
    """
    pairs = [(letters(reply.baseline), letters(reply.variant)) for reply in replies]
    twice = [(letters(first), letters(second)) for first, second in itself]
    notes = {"n": len(pairs), "output_tokens": output_tokens, "text": text}
    followed = [survival.followed(a, b) for a, b in pairs]
    differ, cut = (
        sum(pair.differs for pair in followed),
        sum(reply.cut for reply in replies) / (2 * len(replies)),
    )
    length, (low, high) = drift.length_ratio(pairs), drift.GUARD
    outside = length is not None and not low <= length.value <= high
    return {
        EXACT.key: EXACT.scalar(drift.exact_match(pairs), again=drift.exact_match(twice).value, **notes),
        DIVERGENCE.key: DIVERGENCE.scalar(
            drift.first_divergence(pairs), again=drift.first_divergence(twice).value, **notes
        ),
        MEDIAN.key: MEDIAN.scalar(survival.median(survival.curve(followed)), differ=differ, **notes),
        EDITS.key: EDITS.scalar(drift.edits(pairs), again=drift.edits(twice).value, **notes),
        LENGTH.key: LENGTH.scalar(length, cut=cut, outside=outside, **notes),
    }


def letters(text: str) -> tuple[int, ...]:
    """Return the Unicode code points of a text, which the statistics use in place of tokens."""
    return tuple(map(ord, text))
