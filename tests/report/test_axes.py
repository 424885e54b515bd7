"""Linear axes and their ends: pixels, ticks and the margin, by hand. ``test_scatter.py`` has the others."""

from __future__ import annotations

import math

import pytest

from bench.report.axes import LinearScale, LogScale, Tick, with_room


@pytest.mark.parametrize(
    ("value", "pixel"), [(-5, 100), (10, 100), (11, 90.0), (12.5, 75.0), (20, 0), (99, 0)]
)
def test_a_value_is_at_its_share_of_the_way(value: float, pixel: float) -> None:
    assert LinearScale(10, 20, 100, 0).at(value) == pixel


def test_five_ticks_at_equal_distances() -> None:
    assert LinearScale(0, 2, 0, 100).ticks() == (
        Tick(0, "0"), Tick(25, "0.500"), Tick(50, "1.00"), Tick(75, "1.50"), Tick(100, "2.00"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([1.0, 3.0, 2.0], 1 - 0.16, 3 + 0.16),  # 8 % of the distance
        ([5.0, 5.0], 4.5, 5.5),  # 10 % of the value where there is no distance
        ([-5.0], -5.5, -4.5),
        ([0.0], -1.0, 1.0),
    ],
)
def test_the_margin_of_a_scale(values: list[float], low: float, high: float) -> None:
    scale = with_room(values, 0, 10)
    assert (scale.low, scale.high) == pytest.approx((low, high))


def test_the_margin_ends_at_what_is_possible() -> None:
    scale = with_room([0.01, 0.99], 0, 10, 0.0, 1.0)
    assert (scale.low, scale.high) == (0.0, 1.0)
    inside = with_room([0.4, 0.6], 0, 10, 0.0, 1.0)
    assert (inside.low, inside.high) == pytest.approx((0.384, 0.616))


@pytest.mark.parametrize(
    ("power", "text"),
    [(-7, "≤ 1e-07"), (-6, "≤ 0.000001"), (0, "≤ 1"), (2, "≤ 100"), (5, "≤ 100000"), (6, "≤ 1e+06")],
)
def test_numbers_without_exponents_unless_they_are_extreme(power: int, text: str) -> None:
    assert LogScale(10.0**power, 10.0 ** (power + 1), 0, 1).decades()[0] == Tick(0, text)


def test_a_logarithm_by_hand() -> None:
    scale = LogScale(2, 32, 10, 50)
    assert [scale.at(2.0**power) for power in range(1, 6)] == [10, 20.0, 30.0, 40.0, 50.0]
    assert scale.at(6) == round(10 + 40 * math.log(3) / math.log(16), 1)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1, 1000, "1 10 100 1000"),
        (1, 100, "1 2 5 10 20 50 100"),
        (2, 20, "2 3 5 7 10 15 20"),
        (1e-3, 1e-2, "0.001 0.0015 0.002 0.003 0.005 0.007 0.01"),
        (1, 1e12, "1 100 10000 1e+06 1e+08 1e+10 1e+12"),  # every second power
    ],
)
def test_ticks_reach_both_ends_and_are_at_most_nine(low: float, high: float, texts: str) -> None:
    assert " ".join(tick.text for tick in LogScale(low, high, 0, 9).ticks()) == texts
