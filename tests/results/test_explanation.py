"""What `bench explain` says of the test of a behaviour suite."""

from __future__ import annotations

import pytest

from bench.results.explanation import counted_words
from bench.stats.figure import Metric

CHANGE = Metric("a_change", "1", "higher", "", "")


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        (
            {"n": 120, "lost": 4, "gained": 3, "p": 1.0},
            "3 gained, 4 lost of 120; p = 1, not corrected for other tests",
        ),
        ({"n": 120, "lost": 4, "gained": 3}, "3 gained, 4 lost of 120"),
        ({"n": 120}, None),
    ],
)  # fmt: skip
def test_the_counts_and_p_of_a_suite(notes: dict[str, float], said: str | None) -> None:
    figure = CHANGE.scalar(0.1, **notes)
    assert figure is not None
    assert counted_words(figure) == said
