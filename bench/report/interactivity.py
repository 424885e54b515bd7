"""Compute the picture of a sweep: the total output of a machine against the speed that one user gets.

The x axis is interactivity (1/TPOT, tokens per second of one user) and the y axis output throughput (tokens
per second of all users), both logarithmic. Each variant has a curve with a point for each cell of the sweep.
More users, or a larger batch, move a point to the left and up. Lengths are in pixels from the upper left
corner; a template draws the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.metrics import latency, throughput
from bench.report.axes import LogScale, Tick
from bench.report.label_places import Box, Label, names_beside, place_labels
from bench.results.paired_figures import shown_value
from bench.results.pareto_front import undominated
from bench.results.run_summary import RunSummary

WIDTH, HEIGHT = 640, 380
PLOT = Box(70, 14, 616, 322)
MARK = 7.0
ROOM = 1.12  # factor between the outermost points and the frame
LEAST_CELLS = 2


@dataclass(frozen=True)
class Datum:
    """A row in one cell of the sweep.

    ``of_one`` and ``of_all`` are the tokens per second of one user and of all users. ``usd`` is the row's
    main cost figure in US dollars.
    """

    variant: str
    cell: str
    of_one: float
    of_all: float
    usd: float | None


@dataclass(frozen=True)
class Mark:
    """A datum at its place. It is ``on_front`` if no other one is faster both for one user and for all."""

    datum: Datum
    x: float
    y: float
    on_front: bool
    is_baseline: bool
    label: Label


@dataclass(frozen=True)
class Picture:
    """Everything that the template draws: a line through the cells of each variant, and the marks on it."""

    lines: tuple[tuple[tuple[float, float], ...], ...]
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def data_of(run: RunSummary) -> tuple[Datum, ...]:
    """Return the rows that have both figures, variant by variant in the order of the run."""
    names = dict.fromkeys(row.name for row in run.rows)
    data = tuple(_measured(run))
    return tuple(datum for name in names for datum in data if datum.variant == name)


def _measured(run: RunSummary) -> Iterator[Datum]:
    for row in run.rows:
        tpot, of_all = (shown_value(run, row, metric) for metric in (latency.TPOT, throughput.OUTPUT))
        if row.ok and tpot and of_all and min(tpot, of_all) > 0 and math.isfinite(1e3 / tpot):
            yield Datum(row.name, row.group, 1e3 / tpot, of_all, shown_value(run, row, row.headline))


def picture(run: RunSummary) -> Picture | None:
    """Return the picture of a run, or None if no variant was measured in several cells of a sweep."""
    data = data_of(run)
    curves = [[d for d in data if d.variant == name] for name in dict.fromkeys(d.variant for d in data)]
    if max(map(len, curves), default=0) < LEAST_CELLS:
        return None
    across = _scale([datum.of_one for datum in data], PLOT.left, PLOT.right)
    up = _scale([datum.of_all for datum in data], PLOT.bottom, PLOT.top)
    places = [(across.at(datum.of_one), up.at(datum.of_all)) for datum in data]
    last = {id(curve[-1]): curve[-1].variant for curve in curves}
    baselines = {row.name for row in run.rows if row.is_baseline}
    front = set(undominated((-datum.of_one, -datum.of_all, at) for at, datum in enumerate(data)))
    notable = [at in front or datum.variant in baselines for at, datum in enumerate(data)]
    names = names_beside([last.get(id(datum), "") for datum in data], notable)
    labels = place_labels(names, places, (), MARK, PLOT)
    return Picture(
        tuple(
            tuple(place for _datum, place in curve)
            for _name, curve in groupby(zip(data, places, strict=True), lambda pair: pair[0].variant)
        ),
        tuple(
            Mark(datum, *place, at in front, datum.variant in baselines, label)
            for at, (datum, place, label) in enumerate(zip(data, places, labels, strict=True))
        ),
        across.ticks(),
        up.ticks(),
    )


def _scale(values: Sequence[float], start: float, end: float) -> LogScale:
    return LogScale(min(values) / ROOM, max(values) * ROOM, start, end)
