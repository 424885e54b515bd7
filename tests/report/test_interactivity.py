"""The picture of a sweep: places, the front, and when there is nothing to draw."""

from __future__ import annotations

import pytest
from sample import baseline, figure, run, summary, sweep_run, variant

from bench.metrics import latency, throughput
from bench.report.formats import html
from bench.report.interactivity import PLOT, data_of, picture
from bench.stats.intervals import Interval


def row(name: str, cell: str, of_one: float, of_all: float, **changes: object) -> dict[str, object]:
    made = variant(name, group=cell, is_baseline=name == "baseline", **changes)
    made["metrics"] |= {
        latency.TPOT.key: figure(latency.TPOT.distribution([1e3 / of_one] * 3)),
        throughput.OUTPUT.key: figure(throughput.OUTPUT.scalar(Interval(of_all, None, None))),
    }
    return made


# One user gets less when there are more of them, and all together get more.
SWEEP = [
    row("baseline", "users=1", 40, 30),
    row("fast", "users=1", 80, 60),
    row("baseline", "users=4", 25, 90),
    row("fast", "users=4", 30, 60),
    row("lost", "users=4", 30, 60, status="run_error"),
]


def test_a_curve_for_each_variant() -> None:
    data = data_of(summary(run(SWEEP, [])))
    assert [(one.variant, one.cell) for one in data] == [
        ("baseline", "users=1"), ("baseline", "users=4"), ("fast", "users=1"), ("fast", "users=4"),
    ]  # fmt: skip
    assert [one.of_one for one in data] == pytest.approx([40, 25, 80, 30])
    assert [one.of_all for one in data] == [30, 90, 60, 60]


def test_places_and_the_front() -> None:
    drawn = picture(summary(run(SWEEP, [])))
    assert drawn is not None
    assert [len(line) for line in drawn.lines] == [2, 2]
    assert [mark.on_front for mark in drawn.marks] == [False, True, True, False]
    assert [mark.is_baseline for mark in drawn.marks] == [True, True, False, False]
    assert [mark.label.text for mark in drawn.marks] == ["", "baseline", "", "fast"]
    slow_one, many, fast_one, fast_many = drawn.marks
    assert many.x < fast_many.x < slow_one.x < fast_one.x, "more for one user is to the right"
    assert many.y < fast_one.y == fast_many.y < slow_one.y, "more for all is higher up"
    for mark in drawn.marks:
        assert PLOT.left < mark.x < PLOT.right
        assert PLOT.top < mark.y < PLOT.bottom
    equal_factors = (fast_one.x - slow_one.x) / (slow_one.x - many.x)
    assert equal_factors == pytest.approx(0.6931 / 0.4700, rel=0.02)  # ln(80/40) / ln(40/25)


@pytest.mark.parametrize("rows", [[], [baseline(), variant("bf16")], SWEEP[:2]])
def test_one_cell_is_no_curve(rows: list[dict[str, object]]) -> None:
    assert picture(summary(run(rows, []))) is None


def test_it_stands_in_the_report_of_a_sweep() -> None:
    page = html.render([summary(sweep_run())])
    assert "Throughput against interactivity" in page
    assert "bf16, batch_size=8: 25" in page
    assert "Throughput against interactivity" not in html.render([summary(run([baseline()], []))])


def test_the_name_of_a_curve_is_at_its_last_cell() -> None:
    cells = [("users=1", 80, 60), ("users=4", 40, 90), ("users=8", 20, 120)]
    rows = [row(name, *cell) for cell in cells for name in ("baseline",)]
    drawn = picture(summary(run(rows, [])))
    assert drawn is not None
    assert [mark.label.text for mark in drawn.marks] == ["", "", "baseline"]


def test_a_variant_of_one_cell_has_its_name_there() -> None:
    rows = [*SWEEP[:2], SWEEP[2]]
    drawn = picture(summary(run(rows, [])))
    assert drawn is not None
    assert [len(line) for line in drawn.lines] == [2, 1]
    assert [mark.label.text for mark in drawn.marks] == ["", "baseline", "fast"]
