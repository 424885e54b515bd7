"""The picture of cost against quality: its marks, its lines, where they are, and when there is none."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sample import baseline, figure, ratio, run, summary, variant

from bench.drift.suites.factuality import SUITE
from bench.metrics import cascade_curve
from bench.report.formats import html
from bench.report.quality_picture import PLOT, ROOM, Datum, _scales, curve_of, picture
from bench.stats.proportions import wilson

# threshold, share that goes on, USD, share right, seconds: the large model alone costs 4 − 1 = 3
CURVE = [[-0.1, 0.0, 1.0, 0.4, 1.0], [-0.5, 0.5, 2.5, 0.7, 2.0], [-2.0, 1.0, 4.0, 0.8, 3.0]]


def answering(row: dict[str, Any], right: int, curve: Any = None) -> dict[str, Any]:
    """A row that has ``right`` of 100 questions right, and the curve of a cascade."""
    row["metrics"] |= {SUITE.accuracy.key: figure(SUITE.accuracy.scalar(wilson(right, 100), n=100))}
    if curve is not None:
        gap = cascade_curve.GAP.scalar(0.4, suite="factuality", n=100, curve=curve, here=curve[0])
        row["metrics"] |= {cascade_curve.GAP.key: figure(gap)}
    return row


def drawn(curve: Any = CURVE) -> Any:
    rows = [
        answering(baseline(), 80),
        answering(variant("edge-only"), 40),
        answering(variant("cascade"), 70, curve),
        answering(variant("slow"), 60),
        variant("no-answers"),
    ]
    ratios = [ratio(name, one, None, None, "cannot tell") for name, one in
              (("edge-only", 0.5), ("cascade", 0.9), ("slow", 1.2), ("no-answers", 0.7))]  # fmt: skip
    return summary(run(rows, ratios))


def test_marks_are_the_rows_that_answered_and_the_edge_at_its_own_price() -> None:
    found = picture(drawn(), "")
    assert found is not None
    assert found.suite == "factuality"
    assert [(mark.datum.name, mark.on_front) for mark in found.marks] == [
        ("baseline", True), ("edge-only", False), ("cascade", True), ("slow", False),
        ("edge of cascade", True),
    ]  # fmt: skip
    base, edge_only, cascade, slow, edge = found.marks
    assert edge.datum.ratio == pytest.approx(1 / 3)
    assert base.datum.is_baseline
    assert edge.x < edge_only.x < cascade.x < base.x == found.one_x < slow.x
    assert base.y < cascade.y < slow.y < edge_only.y == edge.y
    for mark in found.marks:
        assert PLOT.left < mark.x < PLOT.right
        assert PLOT.top < mark.y < PLOT.bottom
    assert (slow.x - base.x) / (base.x - edge_only.x) == pytest.approx(math.log(1.2) / math.log(2), rel=0.02)
    assert base.whisker is not None
    assert base.whisker[0] < base.y < base.whisker[1]
    assert edge.whisker is None


def test_the_line_is_the_curve_by_the_large_models_cost() -> None:
    run_found = drawn()
    row = next(row for row in run_found.rows if row.name == "cascade")
    expected = [(1 / 3, 0.4), (2.5 / 3, 0.7), (4 / 3, 0.8)]
    assert [pytest.approx(point) for point in expected] == list(curve_of(row))
    found = picture(run_found, "")
    assert found is not None
    (line,) = found.lines
    assert [x for x, _y in line] == sorted(x for x, _y in line)
    assert line[0] == (found.marks[-1].x, found.marks[-1].y)


@pytest.mark.parametrize(
    "curve",
    [
        [],
        CURVE[:1],
        "curve",
        [[0, 0, 1.0, 0.4, 1], [0, 1, 1.0, 0.8, 1]],  # a large model that costs nothing
        [[0, 0, math.nan, 0.4, 1], [0, 1, math.inf, 0.8, 1]],
        [[0, 0, 1.0, 4.0, 1], [0, 1, 2.0, 0.8, 1]],  # a share above 1
    ],
)
def test_what_is_no_curve_is_not_drawn(curve: Any) -> None:
    gap = cascade_curve.GAP.scalar(0.4, suite="factuality", n=100, curve=curve, here=None)
    rows = [answering(baseline(), 80), answering(variant("cascade"), 70)]
    rows[1]["metrics"] |= {cascade_curve.GAP.key: figure(gap)}
    assert picture(summary(run(rows, [])), "") is None


def test_a_run_without_a_cascade_has_no_such_picture() -> None:
    found = summary(run([answering(baseline(), 80), answering(variant("bf16"), 70)], []))
    assert picture(found, "") is None
    assert "Cost against quality" not in html.render([found])


def test_the_page_has_it() -> None:
    page = html.render([drawn()])
    assert "Cost against quality" in page
    assert "edge of cascade: 0.333 of the cost, 40.0% right" in page
    assert "cascade: 0.900 of the cost, 70.0% right of 100 questions" in page


def test_the_baseline_s_own_cost_is_in_the_picture_and_the_frame_is_near_the_marks() -> None:
    """All rows cost less than the baseline, at 1, or as much; the frame is a factor of ``ROOM`` away."""
    across, up = _scales([Datum("v", 0.5, 0.4, None, None, False, False)], [])
    assert (across.low, across.high) == pytest.approx((0.5 / ROOM, ROOM))
    assert (up.low, up.high) == pytest.approx((0.36, 0.44))
    dear, _up = _scales([Datum("v", 4.0, 0.4, 0.1, 0.9, False, False)], [[(8.0, 0.2), (2.0, 0.3)]])
    assert (dear.low, dear.high) == pytest.approx((1 / ROOM, 8 * ROOM))


@pytest.mark.parametrize("right", [0, 100])
def test_all_right_and_all_wrong_can_be_drawn(right: int) -> None:
    rows = [answering(baseline(), 80), answering(variant("v"), right), answering(variant("c"), 70, CURVE)]
    ratios = [ratio(name, 0.5, None, None, "cannot tell") for name in ("v", "c")]
    found = picture(summary(run(rows, ratios)), "")
    assert found is not None
    assert "v" in [mark.datum.name for mark in found.marks]
