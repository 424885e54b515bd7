"""Where names go beside their marks: boxes, areas and the preferred place, by hand."""

from __future__ import annotations

import pytest

from bench.report.label_places import LONGEST, Box, Label, place_labels, shortened, text_width

PLOT = Box(0, 0, 400, 300)


@pytest.mark.parametrize(
    ("other", "area"),
    [
        (Box(0, 0, 10, 20), 200),
        (Box(5, 15, 30, 30), 25),
        (Box(2, 3, 4, 6), 6),
        (Box(10, 0, 20, 20), 0),  # they touch
        (Box(0, 20, 10, 30), 0),
        (Box(50, 50, 60, 60), 0),  # apart both ways, where a product would be positive
    ],
)
def test_the_area_that_two_boxes_share(other: Box, area: float) -> None:
    box = Box(0, 0, 10, 20)
    assert box.overlap(other) == other.overlap(box) == area
    assert box.area == 200


@pytest.mark.parametrize(("anchor", "left"), [("start", 100), ("middle", 100 - 9.9), ("end", 100 - 19.8)])
def test_the_space_of_a_text(anchor: str, left: float) -> None:
    box = Label("abc", 100, 50, anchor, leader=False).box  # type: ignore[arg-type]
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((left, 40, left + 19.8, 53))


def test_a_wide_letter_counts_twice() -> None:
    assert text_width("a中") == pytest.approx(3 * 6.6)


@pytest.mark.parametrize("count", [LONGEST - 1, LONGEST, LONGEST + 1, 99])
def test_a_long_name_is_cut(count: int) -> None:
    found = shortened("x" * count)
    assert len(found) == min(count, LONGEST)
    assert found.endswith("…") is (count > LONGEST)


def test_a_lone_name_is_at_the_right_of_its_mark() -> None:
    assert place_labels(["abc"], [(100, 100)], (), 7, PLOT) == (Label("abc", 111, 104, "start", False),)


def test_at_the_right_edge_it_is_at_the_left() -> None:
    assert place_labels(["abc"], [(395, 100)], (), 7, PLOT) == (Label("abc", 384, 104, "end", False),)


def test_between_neighbours_it_is_above() -> None:
    """The marks of the neighbours cover both sides, and they have no names themselves."""
    labels = place_labels(["", "abc", ""], [(80, 100), (100, 100), (120, 100)], (), 7, PLOT)
    assert labels[1] == Label("abc", 100, 88, "middle", False)
    assert labels[0] == Label("", 80, 100, "middle", False)


def test_where_all_is_covered_it_is_far_and_has_a_line() -> None:
    lines = (Box(60, 75, 140, 125),)
    (label,) = place_labels(["abc"], [(100, 100)], lines, 7, PLOT)
    assert label == Label("abc", 114, 70, "start", leader=True)


def test_two_marks_at_one_place_have_their_names_apart() -> None:
    one, other = place_labels(["abc", "abd"], [(100, 100)] * 2, (), 7, PLOT)
    assert one.box.overlap(other.box) == 0
    assert other.anchor == "end"
