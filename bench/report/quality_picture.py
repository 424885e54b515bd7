"""The picture of cost against quality: every row that answered a cascade's suite, and the cascade's curve.

Cost is divided by that of the large model alone, on a logarithmic scale along x; quality is the share right,
up y. A row's ratio is one of requests, as in the table. The ratio of a point of a curve is one of questions
of the suite, so both are 1 for the large model alone. Lengths are in pixels from the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.metrics import cascade_curve
from bench.report.axes import LinearScale, LogScale, Tick, with_room
from bench.report.cascade_picture import curve_points
from bench.report.labels import Box, Label, names_beside, place_labels
from bench.results.front import undominated
from bench.results.headline import headline
from bench.results.row import Row
from bench.results.run_summary import RunSummary

WIDTH, HEIGHT = 640, 380
PLOT = Box(70, 14, 616, 322)
MARK = 7.0
ROOM = 1.15  # factor between the outermost points and the frame
MOST_RATIO = 1e9  # and its inverse: what is beyond is no measurement

Line = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Datum:
    """A row, or a cascade's edge model at the price of its device: cost ÷ the baseline's, the share
    right with its 95 % bounds, and the questions that it answered."""

    name: str
    ratio: float
    quality: float
    low: float | None = None
    high: float | None = None
    questions: int | None = None
    is_baseline: bool = False


@dataclass(frozen=True)
class Mark:
    """A datum at its place; ``on_front`` if no other is both cheaper and more often right. ``whisker`` is the
    upper and the lower end of the interval of its quality."""

    datum: Datum
    x: float
    y: float
    whisker: tuple[float, float] | None
    on_front: bool
    label: Label


@dataclass(frozen=True)
class Picture:
    """The curves of the cascades of one cell of a sweep, and a mark for each row."""

    suite: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    one_x: float


def picture(run: RunSummary, group: str) -> Picture | None:
    """Return the picture of one cell; None if no cascade of it has a curve."""
    rows = [row for row in run.rows if row.group == group and row.ok]
    suite = next((found for row in rows if (found := _suite(row))), None)
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
    points = [(one.ratio, one.quality) for one in data] + [point for line in lines for point in line]
    bounds = [bound for one in data for bound in (one.low, one.high) if bound is not None]
    ratios = [1.0, *(ratio for ratio, _quality in points)]
    qualities = [quality for _ratio, quality in points]
    return (
        LogScale(min(ratios) / ROOM, max(ratios) * ROOM, PLOT.left, PLOT.right),
        with_room([*qualities, *bounds], PLOT.bottom, PLOT.top, least=0.0, most=1.0),
    )


def _marks(data: Sequence[Datum], across: LogScale, up: LinearScale) -> tuple[Mark, ...]:
    places = [(across.at(one.ratio), up.at(one.quality)) for one in data]
    front = set(undominated((one.ratio, -one.quality, at) for at, one in enumerate(data)))
    notable = [at in front or one.is_baseline for at, one in enumerate(data)]
    names = names_beside([one.name for one in data], notable)
    labels = place_labels(names, places, (), MARK, PLOT)
    found = []
    for at, (one, (x, y), label) in enumerate(zip(data, places, labels, strict=True)):
        known = one.low is not None and one.high is not None
        whisker = (up.at(one.high or 0.0), up.at(one.low or 0.0)) if known else None
        found.append(Mark(one, x, y, whisker, at in front, label))
    return tuple(found)


def curve_of(row: Row) -> Line:
    """Return (cost ÷ that of the large model alone, share right) along a row's curve; nothing without one.

    The curve begins at the edge model and ends at both models for all, so their difference is the large
    model's.
    """
    gap = row.figure(cascade_curve.GAP)
    points = curve_points(gap.notes.get("curve")) if gap else []
    if len(points) < 2 or not points[-1][2] > points[0][2]:
        return ()
    alone_usd = points[-1][2] - points[0][2]
    found = tuple((usd / alone_usd, quality) for _limit, _share, usd, quality, _s in points)
    return found if all(_drawable(*one) for one in found) else ()


def _suite(row: Row) -> str | None:
    gap = row.figure(cascade_curve.GAP)
    return str(gap.notes.get("suite")) if gap else None


def _rows(run: RunSummary, rows: Sequence[Row], suite: str) -> Iterator[Datum]:
    """Yield the rows that have both a ratio of cost and a share right."""
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
    """Yield the edge model alone of each cascade, at the price of its device."""
    for name, line in curves.items():
        yield Datum(f"edge of {name}", *line[0])


def _drawable(ratio: float, quality: float) -> bool:
    return 1 / MOST_RATIO < ratio < MOST_RATIO and math.isfinite(quality) and 0 <= quality <= 1
