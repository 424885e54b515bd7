"""Compute the picture of cost against quality: the rows that answered a cascade's suite, and its curve.

The x axis is the cost divided by that of the large model alone, logarithmic. The y axis is quality, the share
of right answers. A row's cost is per request, as in the table, and a curve's cost is per question of the
suite. Both are divided by the large model's cost of the same kind, so it is at 1 in either case. Lengths are
in pixels from the upper left corner; a template draws the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.metrics import cascade_curve
from bench.report.axes import LinearScale, LogScale, Tick, with_room
from bench.report.cascade_picture import curve_points
from bench.report.label_places import Box, Label, names_beside, place_labels
from bench.results.headline import headline
from bench.results.pareto_front import undominated
from bench.results.row import Row
from bench.results.run_summary import RunSummary

WIDTH, HEIGHT = 640, 380
PLOT = Box(70, 14, 616, 322)
MARK = 7.0
ROOM = 1.15  # factor between the outermost points and the frame
MOST_RATIO = 1e9  # ratios above this, or below its inverse, are not measurements and are not drawn

Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Datum:
    """A row, or the edge model of a cascade alone at the price of its device.

    ``ratio`` is its cost divided by the baseline's. ``quality`` is the share of right answers, with its 95 %
    bounds ``low`` and ``high``, and ``questions`` is how many it answered.
    """

    name: str
    ratio: float
    quality: float
    low: float | None = None
    high: float | None = None
    questions: int | None = None
    is_baseline: bool = False


@dataclass(frozen=True)
class Mark:
    """A datum at its place. It is ``on_front`` if no other one is both cheaper and more often right.

    ``whisker`` has the y of the upper and of the lower end of the interval of its quality.
    """

    datum: Datum
    x: float
    y: float
    whisker: tuple[float, float] | None
    on_front: bool
    label: Label


@dataclass(frozen=True)
class Picture:
    """The picture of one cell of a sweep: the curves of its cascades, and a mark for each row.

    ``one_x`` is the x at which the cost equals the baseline's.
    """

    suite: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    one_x: float


def picture(run: RunSummary, group: str) -> Picture | None:
    """Return the picture of one cell of a sweep, or None if it has no cascade with a curve."""
    rows = [row for row in run.rows if row.group == group and row.ok]
    suite = next((name for row in rows if (name := _suite(row))), None)
    curves = {row.name: curve for row in rows if _suite(row) == suite and (curve := curve_of(row))}
    if suite is None or not curves:
        return None
    data = [*_rows(run, rows, suite), *_edges(curves)]
    across, up = _scales(data, list(curves.values()))
    return Picture(
        suite,
        tuple(tuple((across.at(x), up.at(y)) for x, y in line) for line in curves.values()),
        _marks(data, across, up),
        across.ticks(),
        up.ticks(),
        across.at(1.0),
    )


def _scales(data: Sequence[Datum], lines: Sequence[Line]) -> tuple[LogScale, LinearScale]:
    points = [(datum.ratio, datum.quality) for datum in data] + [point for line in lines for point in line]
    bounds = [bound for datum in data for bound in (datum.low, datum.high) if bound is not None]
    ratios = [1.0, *(ratio for ratio, _quality in points)]
    qualities = [quality for _ratio, quality in points]
    return (
        LogScale(min(ratios) / ROOM, max(ratios) * ROOM, PLOT.left, PLOT.right),
        with_room([*qualities, *bounds], PLOT.bottom, PLOT.top, least=0.0, most=1.0),
    )


def _marks(data: Sequence[Datum], across: LogScale, up: LinearScale) -> tuple[Mark, ...]:
    places = [(across.at(datum.ratio), up.at(datum.quality)) for datum in data]
    front = set(undominated((datum.ratio, -datum.quality, at) for at, datum in enumerate(data)))
    notable = [at in front or datum.is_baseline for at, datum in enumerate(data)]
    names = names_beside([datum.name for datum in data], notable)
    labels = place_labels(names, places, (), MARK, PLOT)
    marks = []
    for at, (datum, (x, y), label) in enumerate(zip(data, places, labels, strict=True)):
        known = datum.low is not None and datum.high is not None
        whisker = (up.at(datum.high or 0.0), up.at(datum.low or 0.0)) if known else None
        marks.append(Mark(datum, x, y, whisker, at in front, label))
    return tuple(marks)


def curve_of(row: Row) -> Line:
    """Return (cost divided by the large model's, share of right answers) at each point of a row's curve.

    The curve starts where only the edge model answers and ends where both models work on every question. So
    the difference of the two costs is that of the large model alone. The result is empty without a curve.
    """
    gap = row.figure(cascade_curve.GAP)
    points = curve_points(gap.notes.get("curve")) if gap else []
    if len(points) < 2 or not points[-1][2] > points[0][2]:
        return ()
    alone_usd = points[-1][2] - points[0][2]
    line = tuple((usd / alone_usd, quality) for _limit, _share, usd, quality, _s in points)
    return line if all(_drawable(*point) for point in line) else ()


def _suite(row: Row) -> str | None:
    gap = row.figure(cascade_curve.GAP)
    return str(gap.notes.get("suite")) if gap else None


def _rows(run: RunSummary, rows: Sequence[Row], suite: str) -> Iterator[Datum]:
    """Yield the rows that have both a cost ratio and a share of right answers in the suite."""
    for row in rows:
        right = row.figure(f"{suite.replace('-', '_')}_accuracy")
        ratio = headline(run, row)
        value = 1.0 if row.is_baseline else ratio.ratio if ratio else None
        if right is None or value is None or not _drawable(value, right.value):
            continue
        n = right.notes.get("n")
        questions = n if isinstance(n, int) else None
        yield Datum(row.name, value, right.value, right.ci_low, right.ci_high, questions, row.is_baseline)


def _edges(curves: dict[str, Line]) -> Iterator[Datum]:
    """Yield the edge model of each cascade, working alone at the price of its device."""
    for name, line in curves.items():
        yield Datum(f"edge of {name}", *line[0])


def _drawable(ratio: float, quality: float) -> bool:
    return 1 / MOST_RATIO < ratio < MOST_RATIO and math.isfinite(quality) and 0 <= quality <= 1
