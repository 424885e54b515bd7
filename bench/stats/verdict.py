"""The verdict on a ratio, and how the two sides of it were measured."""

from __future__ import annotations

from enum import StrEnum

from bench.stats.intervals import Interval


class Verdict(StrEnum):
    """Whether a variant is better than its baseline on one metric."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


class RatioDesign(StrEnum):
    """What a ratio was computed from.

    Fresh pairs of processes in turns (``duet``) or one after the other (``abba``), servers under load in
    alternating blocks, or each row alone, in the one process that its other figures are of (``solo``). How
    the two workers of a pair share the machine is another design: ``measure.design``.
    """

    DUET = "duet"
    ABBA = "abba"
    BLOCKS = "blocks"
    SOLO = "solo"


def verdict_of(interval: Interval, *, lower_is_better: bool = True) -> Verdict:
    """Return BETTER or WORSE if the whole interval is on one side of 1, else CANNOT_TELL."""
    if interval.low is None or interval.high is None or interval.low <= 1 <= interval.high:
        return Verdict.CANNOT_TELL
    return Verdict.BETTER if (interval.high < 1) == lower_is_better else Verdict.WORSE
