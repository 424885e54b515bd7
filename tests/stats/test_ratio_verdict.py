"""What is said of a ratio: only what its whole interval says, in the direction of its metric."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import RatioDesign, Verdict, verdict_of

logs = st.floats(-2, 2)


@pytest.mark.parametrize(
    ("low", "high", "lower", "higher"),
    [
        (0.4, 0.6, Verdict.BETTER, Verdict.WORSE),
        (1.01, 1.4, Verdict.WORSE, Verdict.BETTER),
        (0.9, 1.1, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
        (0.8, 1.0, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
        (1.0, 1.2, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
        (1.0, 1.0, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
        (None, None, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
        (None, 0.6, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
        (1.2, None, Verdict.CANNOT_TELL, Verdict.CANNOT_TELL),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(
    low: float | None, high: float | None, lower: Verdict, higher: Verdict
) -> None:
    found = Interval(0.5, low, high)
    assert verdict_of(found) is lower
    assert verdict_of(found, lower_is_better=True) is lower
    assert verdict_of(found, lower_is_better=False) is higher


@given(logs, logs, st.booleans())
@example(1.0, 1.0417038075672723e-16, False)
def test_the_other_side_says_the_opposite(one: float, other: float, lower: bool) -> None:
    """Turned over, as higher is better turned into lower: the same is said."""
    low, high = sorted((math.exp(one), math.exp(other)))
    found = Interval(1.0, low, high)
    turned = Interval(1.0, 1 / high, 1 / low)  # exp(-x) may be below 1 where exp(x) is rounded to 1
    assert verdict_of(found, lower_is_better=lower) == verdict_of(turned, lower_is_better=not lower)


def test_in_a_file_they_are_words() -> None:
    assert json.dumps([*Verdict]) == '["better", "worse", "cannot tell"]'
    assert json.dumps([*RatioDesign]) == '["duet", "slices", "abba", "blocks", "solo"]'
    assert [Verdict("cannot tell"), RatioDesign("duet")] == [Verdict.CANNOT_TELL, RatioDesign.DUET]
