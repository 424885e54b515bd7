"""At most 41 points of a cascade's curve are kept, both ends among them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bench.metrics.cascade_curve import SHOWN_POINTS, _shown
from bench.stats.cascade_curve import Point

ABOVE, BELOW = {"sure": "above"}, {"sure": "below"}


def points(count: int) -> list[Point]:
    return [Point(float(n), n / 1000, 2.0 * n, 3.0 * n, 4.0 * n) for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, 40, 41, 42, 80, 81, 82, 500])
def test_all_of_few_and_evenly_of_many(count: int) -> None:
    shown = [int(limit) for limit, *_rest in _shown(points(count), BELOW)]
    assert len(shown) == min(count, SHOWN_POINTS)
    assert (shown[0], shown[-1]) == (0, count - 1)
    gaps = [b - a for a, b in pairwise(shown)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_a_point_in_the_notes() -> None:
    assert _shown(points(3), ABOVE)[2] == [-2.0, 0.002, 4.0, 6.0, 8.0]
    assert _shown(points(3), BELOW)[2] == [2.0, 0.002, 4.0, 6.0, 8.0]
