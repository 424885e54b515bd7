"""Where the windows of a text begin: spread evenly, as many as fit, and none in a text that is too short."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bench.drift.kl_and_perplexity import window_starts


@pytest.mark.parametrize(
    ("length", "window", "tokens", "starts"),
    [
        (100, 10, 30, [0, 45, 90]),
        (100, 10, 39, [0, 45, 90]),  # whole windows only
        (100, 10, 1, [0]),  # one at least
        (30, 10, 99, [0, 10, 20]),  # no more than the text has
        (39, 10, 99, [0, 14, 29]),
        (10, 10, 99, [0]),
        (9, 10, 99, []),
    ],
)
def test_windows_of_a_text(length: int, window: int, tokens: int, starts: list[int]) -> None:
    assert window_starts(length, window, tokens) == starts


@pytest.mark.parametrize("tokens", [50, 777, 5000])
def test_windows_never_overlap_and_reach_the_end(tokens: int) -> None:
    found = window_starts(5003, 50, tokens)
    assert all(b - a >= 50 for a, b in pairwise(found))
    assert found[0] == 0
    assert len(found) == 1 or found[-1] == 5003 - 50
