"""The picture of a sweep: what a machine writes in all against what one user gets, as plain geometry.

A cell of the sweep is a point of each variant's curve. Interactivity (1/TPOT, tokens per second of one user)
runs along x, output throughput (tokens per second of all users) up y, both logarithmic. More users, or a
larger batch, move a point to the left and up. Lengths are in pixels from the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.metrics import latency, throughput
from bench.report.axes import LogScale, Tick
from bench.report.labels import Box, Label, names_beside, place_labels
from bench.results.front import undominated
from bench.results.run_summary import RunSummary
from bench.stats.figure import value_of

WIDTH, HEIGHT = 640, 380
PLOT = Box(70, 14, 616, 322)
MARK = 7.0
ROOM = 1.12  # factor between the outermost points and the frame
LEAST_CELLS = 2


@dataclass(frozen=True)
class Datum:
    """A row in one cell: tokens per second of one user and of all, and USD for what the row's cost counts."""

    variant: str
    cell: str
    of_one: float
    of_all: float
    usd: float | None


@dataclass(frozen=True)
class Mark:
    """A datum at its place; ``on_front`` if no other has both more for one user and more for all."""

    datum: Datum
    x: float
    y: float
    on_front: bool
    is_baseline: bool
    label: Label


@dataclass(frozen=True)
class Picture:
    """A line through the cells of each variant, and the marks on it."""

    lines: tuple[tuple[tuple[float, float], ...], ...]
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def data_of(run: RunSummary) -> tuple[Datum, ...]:
    """Return the rows that have both figures, variant by variant in the order of the run."""
    names = dict.fromkeys(row.name for row in run.rows)
    found = tuple(_measured(run))
    return tuple(one for name in names for one in found if one.variant == name)


def _measured(run: RunSummary) -> Iterator[Datum]:
    for row in run.rows:
        tpot, of_all = (value_of(row.figure(one)) for one in (latency.TPOT, throughput.OUTPUT))
        if row.ok and tpot and of_all and min(tpot, of_all) > 0 and math.isfinite(1e3 / tpot):
            yield Datum(row.name, row.group, 1e3 / tpot, of_all, value_of(row.figure(row.headline)))


def picture(run: RunSummary) -> Picture | None:
    """Return the picture of a run; None unless some variant was measured in several cells of a sweep."""
    data = data_of(run)
    curves = [[one for one in data if one.variant == name] for name in dict.fromkeys(d.variant for d in data)]
    if max(map(len, curves), default=0) < LEAST_CELLS:
        return None
    across = _scale([one.of_one for one in data], PLOT.left, PLOT.right)
    up = _scale([one.of_all for one in data], PLOT.bottom, PLOT.top)
    places = [(across.at(one.of_one), up.at(one.of_all)) for one in data]
    last = {id(curve[-1]): curve[-1].variant for curve in curves}
    baselines = {row.name for row in run.rows if row.is_baseline}
    front = set(undominated((-one.of_one, -one.of_all, at) for at, one in enumerate(data)))
    notable = [at in front or one.variant in baselines for at, one in enumerate(data)]
    names = names_beside([last.get(id(one), "") for one in data], notable)
    labels = place_labels(names, places, (), MARK, PLOT)
    return Picture(
        tuple(
            tuple(place for _one, place in curve)
            for _name, curve in groupby(zip(data, places, strict=True), lambda pair: pair[0].variant)
        ),
        tuple(
            Mark(one, *place, at in front, one.variant in baselines, label)
            for at, (one, place, label) in enumerate(zip(data, places, labels, strict=True))
        ),
        across.ticks(),
        up.ticks(),
    )


def _scale(values: Sequence[float], start: float, end: float) -> LogScale:
    return LogScale(min(values) / ROOM, max(values) * ROOM, start, end)
