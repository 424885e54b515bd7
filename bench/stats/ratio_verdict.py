"""Give a verdict on a ratio, and name the designs by which its two sides are measured."""

from __future__ import annotations

from enum import StrEnum

from bench.stats.intervals import Interval


class Verdict(StrEnum):
    """Say whether a variant is better than its baseline on one metric."""

    BETTER = "better"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


class RatioDesign(StrEnum):
    """Name what a ratio was computed from.

    ``duet``: fresh pairs of processes that ran in turns. ``slices``: fresh pairs that ran at the same time on
    one processor, each timed alone. ``abba``: fresh pairs that ran one after the other.
    ``blocks``: servers under load in alternating blocks. ``solo``: each row alone, in the process that
    measured its other figures. The setting ``measure.design`` says how the two workers of a pair take turns.
    """

    DUET = "duet"
    SLICES = "slices"
    ABBA = "abba"
    BLOCKS = "blocks"
    SOLO = "solo"


def verdict_of(interval: Interval, *, lower_is_better: bool = True) -> Verdict:
    """Return BETTER or WORSE if the whole interval is on one side of 1, else CANNOT_TELL."""
    if interval.low is None or interval.high is None or interval.low <= 1 <= interval.high:
        return Verdict.CANNOT_TELL
    return Verdict.BETTER if (interval.high < 1) == lower_is_better else Verdict.WORSE
