"""Drift of a server that says nothing of probabilities: its greedy replies beside the baseline's, as text.

Tokens of two servers may differ where their texts do not, so characters are compared, and the statistics are
those of the replies of other rows (``bench.drift.generations``).
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.drift import generations as drift
from bench.drift import survival
from bench.records import ArmRecord, RunRecord, SaidTexts
from bench.stats.figure import Figures, Metric

_OVER = "; interval by bootstrap over replies"
EXACT = Metric(
    "text_exact_match", "1", "higher", f"share of replies with the same text{_OVER}", "same replies"
)
DIVERGENCE = Metric(
    "first_divergence_char", "char", "higher",
    f"mean number of characters before the first that differs (all, if none does){_OVER}",
    "where replies part",
)  # fmt: skip
MEDIAN = Metric(
    "median_divergence_char", "char", "higher",
    "character by which half of the replies differ (Kaplan-Meier; censored where a reply ends without "
    "differing)", "half of the replies differ",
)  # fmt: skip
EDITS = Metric(
    "text_edit_distance", "1", "lower",
    f"mean Levenshtein distance of the characters ÷ the longer reply{_OVER}", "how much of a reply changed",
)  # fmt: skip
LENGTH = Metric(
    "text_length_ratio",
    "1",
    None,
    f"Σ characters of the replies ÷ Σ the baseline's{_OVER}",
    "longer replies",
)
PLACE = 10.1
METRICS = (EXACT, DIVERGENCE, MEDIAN, EDITS, LENGTH)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of a row whose texts were compared, else None for each."""
    if not arm.said:
        return {metric.key: None for metric in METRICS}
    itself = [(one.baseline, one.again) for one in arm.said]
    return compared(arm.said, itself, run.spec.get("drift", {}).get("window"), run.text.get("name"))


def compared(
    said: Sequence[SaidTexts], itself: Sequence[tuple[str, str]], output_tokens: int | None, text: str | None
) -> Figures:
    """Return the figures of these replies of at most ``output_tokens`` tokens to pieces of a ``text``.

    ``itself`` are two replies of one server to each prompt. ``again`` in the notes is the same figure of
    them: what is not beyond it is no drift. ``cut`` is the share of replies of both that reached the limit.
    """
    pairs = [(letters(one.baseline), letters(one.variant)) for one in said]
    twice = [(letters(one), letters(other)) for one, other in itself]
    known = {"n": len(pairs), "output_tokens": output_tokens, "text": text}
    seen = [survival.followed(a, b) for a, b in pairs]
    differ, cut = sum(one.differs for one in seen), sum(one.cut for one in said) / (2 * len(said))
    length, (low, high) = drift.length_ratio(pairs), drift.GUARD
    outside = length is not None and not low <= length.value <= high
    return {
        EXACT.key: EXACT.scalar(drift.exact_match(pairs), again=drift.exact_match(twice).value, **known),
        DIVERGENCE.key: DIVERGENCE.scalar(
            drift.first_divergence(pairs), again=drift.first_divergence(twice).value, **known
        ),
        MEDIAN.key: MEDIAN.scalar(survival.median(survival.curve(seen)), differ=differ, **known),
        EDITS.key: EDITS.scalar(drift.edits(pairs), again=drift.edits(twice).value, **known),
        LENGTH.key: LENGTH.scalar(length, cut=cut, outside=outside, **known),
    }


def letters(text: str) -> tuple[int, ...]:
    """Return the characters of a text by their numbers in Unicode, as the statistics take tokens."""
    return tuple(map(ord, text))
