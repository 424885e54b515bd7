"""Compute the picture of a run: cost against drift.

The x axis is the cost ratio (logarithmic, the baseline at 1) and the y axis mean KL (logarithmic, in nats). A
logarithmic axis has no zero, so drift at or below a floor is drawn on the lowest tick, whose text has a ≤.
Lengths are in pixels from the upper left corner; a template draws the picture.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.metrics import output_drift
from bench.report.axes import LogScale, Tick
from bench.report.bands import BANDS
from bench.report.label_places import Box, Label, Place, names_beside, place_labels
from bench.results.headline import headline
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of

WIDTH, HEIGHT = 760, 420
PLOT = Box(76, 14, 620, 366)
ABOVE_AXIS = 20  # distance of the lowest tick from the frame, so that marks on it do not touch the frame
MARK, WHISKER = 7.0, 4.0  # half the height of a mark and of an interval, including their outlines
FLOOR_KL, USUAL_TOP_KL = 1e-5, 1.0
SMALLEST_RATIO = 1e-9  # ratios below this, or above its inverse, are not measurements and are not drawn
SMALLEST_SPAN = 1.6  # least right end ÷ left end of the x axis, so that equal rows do not look far apart


@dataclass(frozen=True)
class Datum:
    """One row that can be drawn: its cost ratio with 95 % bounds (or None), and its mean KL in nats."""

    name: str
    ratio: float
    low: float | None
    high: float | None
    kl: float
    is_baseline: bool = False
    on_front: bool = False


@dataclass(frozen=True)
class Mark:
    """A datum at its place; ``whisker`` has the x of the left and of the right end of its interval."""

    datum: Datum
    x: float
    y: float
    whisker: tuple[float, float] | None
    label: Label


@dataclass(frozen=True)
class Band:
    """A named range of drift (see ``bands.BANDS``), from ``top`` to ``bottom`` in pixels."""

    top: float
    bottom: float
    words: str


@dataclass(frozen=True)
class Scatter:
    """Everything that the template draws.

    ``one_x`` is the x at which the cost equals the baseline's. ``front`` has the corners of the Pareto front.
    """

    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bands: tuple[Band, ...]
    one_x: float
    front: tuple[Place, ...]


def data_of(run: RunSummary, group: str) -> tuple[Datum, ...]:
    """Return the rows of one cell of a sweep that have a finite cost ratio and a finite drift."""
    data = (_datum(run, row, run.on_front(row)) for row in run.rows if row.group == group)
    return tuple(datum for datum in data if datum is not None)


def _datum(run: RunSummary, row: Row, on_front: bool) -> Datum | None:
    if not row.ok:
        return None
    if row.is_baseline:
        return Datum(row.name, 1.0, None, None, 0.0, True, on_front)
    ratio, kl = headline(run, row), value_of(row.figure(output_drift.KLD))
    if ratio is None or kl is None or not math.isfinite(kl) or not _drawable(ratio.ratio):
        return None
    low, high = ratio.ci_low, ratio.ci_high
    if low is None or high is None or not _drawable(low) or not _drawable(high):
        low = high = None
    return Datum(row.name, ratio.ratio, low, high, max(kl, 0.0), False, on_front)


def _drawable(ratio: float) -> bool:
    return SMALLEST_RATIO < ratio < 1 / SMALLEST_RATIO


def scatter(data: Sequence[Datum]) -> Scatter | None:
    """Return the picture, or None if there is nothing to compare with the baseline."""
    if all(datum.is_baseline for datum in data):
        return None
    x, y = _x_scale(data), _y_scale(data)
    places = [(x.at(datum.ratio), y.at(datum.kl)) for datum in data]
    whiskers = [None if d.low is None or d.high is None else (x.at(d.low), x.at(d.high)) for d in data]
    front = _stairs({place for place, datum in zip(places, data, strict=True) if datum.on_front})
    lines = [
        Box(whisker[0], place[1] - WHISKER, whisker[1], place[1] + WHISKER)
        for whisker, place in zip(whiskers, places, strict=True)
        if whisker
    ]
    lines += [Box(*start, right + 1, low + 1) for start, (right, low) in pairwise(front)]
    bases = [datum.is_baseline for datum in data]
    notable = [datum.is_baseline or datum.on_front for datum in data]
    names = names_beside([datum.name for datum in data], notable, bases)
    labels = place_labels(names, places, lines, MARK, PLOT)
    marks = tuple(
        Mark(datum, *place, whisker, label)
        for datum, place, whisker, label in zip(data, places, whiskers, labels, strict=True)
    )
    return Scatter(marks, x.ticks(), y.decades(), _bands(y), x.at(1.0), front)


def _stairs(front: Collection[Place]) -> tuple[Place, ...]:
    """Return the corners of the Pareto front; a mark on it is better than any place right of it or above."""
    marks = sorted(front)
    corners = [((x, y), (right, y)) for (x, y), (right, _y) in pairwise(marks)]
    return (*(point for corner in corners for point in corner), *marks[-1:])


def _x_scale(data: Sequence[Datum]) -> LogScale:
    """Return a scale that contains every whisker and 1, with a margin outside the outermost marks."""
    ends = [1.0, *(end for d in data for end in (d.ratio, d.low, d.high) if end is not None)]
    low, high = min(ends), max(ends)
    room = math.sqrt(max(SMALLEST_SPAN / (high / low), 1.0)) * (high / low) ** 0.08
    return LogScale(low / room, high * room, PLOT.left, PLOT.right)


def _y_scale(data: Sequence[Datum]) -> LogScale:
    """Return a scale of whole decades. It is the same in most reports, so that pictures can be compared.

    It is extended only if the data need it.
    """
    top = max(USUAL_TOP_KL, *(datum.kl for datum in data))
    return LogScale(FLOOR_KL, 10.0 ** math.ceil(math.log10(top)), PLOT.bottom - ABOVE_AXIS, PLOT.top)


def _bands(scale: LogScale) -> tuple[Band, ...]:
    """Return the named ranges of drift, clipped to the plot; the lowest one extends down to the frame."""
    bands, below = [], PLOT.bottom
    for limit, words in BANDS:
        top = scale.at(limit)
        if top < below:
            bands.append(Band(top, below, words))
        below = min(top, below)
    return tuple(bands)
