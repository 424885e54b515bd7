"""Compute the picture of a cascade: its quality against its cost at every threshold.

Cost is on the x axis and quality on the y axis, both linear. This module computes the geometry in pixels from
the upper left corner, and a template draws it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.metrics import cascade_curve
from bench.report.axes import Tick, with_room
from bench.report.label_places import Box
from bench.results.row import Row

WIDTH, HEIGHT = 560, 320
PLOT = Box(64, 14, 540, 262)
POINT = 5  # numbers in a point of the curve: threshold, escalated share, USD, accuracy, seconds


@dataclass(frozen=True)
class Place:
    """A named point: its position in pixels, its cost in US dollars and its quality."""

    name: str
    x: float
    y: float
    usd: float
    quality: float


@dataclass(frozen=True)
class Picture:
    """The curve of one row, from the edge model alone to where all go on, with the named ``places`` on it."""

    suite: str
    items: str
    line: tuple[tuple[float, float], ...]
    places: tuple[Place, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def picture(row: Row) -> Picture | None:
    """Return the picture of a row's curve, or None if the row has no curve or its points are not numbers."""
    gap = row.figure(cascade_curve.GAP)
    points = curve_points(gap.notes.get("curve")) if gap else []
    here = curve_points([gap.notes.get("here")]) if gap else []
    if gap is None or len(points) < 2 or not here:
        return None
    named = [("edge only", points[0]), ("all go on", points[-1]), ("as run", here[0])]
    all_points = [*points, here[0]]
    across = with_room([point[2] for point in all_points], PLOT.left, PLOT.right, least=0.0)
    up = with_room([point[3] for point in all_points], PLOT.bottom, PLOT.top)
    return Picture(
        str(gap.notes.get("suite")),
        str(gap.notes.get("n")),
        tuple((across.at(point[2]), up.at(point[3])) for point in points),
        tuple(Place(name, across.at(point[2]), up.at(point[3]), point[2], point[3]) for name, point in named),
        across.ticks(),
        up.ticks(),
    )


def curve_points(curve: Any) -> list[Sequence[float]]:
    """Return the points of a curve that consist of five finite numbers, and drop the others.

    A ``run.json`` may come from anybody, so ``curve`` may be anything.
    """
    listed = curve if isinstance(curve, list | tuple) else []
    return [
        point
        for point in listed
        if isinstance(point, list | tuple)
        and len(point) == POINT
        and all(isinstance(number, int | float) and math.isfinite(number) for number in point)
    ]
