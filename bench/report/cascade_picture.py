"""The picture of a cascade: quality against cost at every threshold, as plain geometry that a template draws.

Cost runs along x and quality up y, both linear. Lengths are in pixels from the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.metrics import cascade_curve
from bench.report.axes import Tick, with_room
from bench.report.labels import Box
from bench.results.row import Row

WIDTH, HEIGHT = 560, 320
PLOT = Box(64, 14, 540, 262)
POINT = 5  # numbers of a point of the curve: threshold, share that goes on, USD, share right, seconds


@dataclass(frozen=True)
class Place:
    """A point with a name, at its place in the picture."""

    name: str
    x: float
    y: float
    usd: float
    quality: float


@dataclass(frozen=True)
class Picture:
    """The curve of one row: ``line`` and the named ``places`` on it, from edge alone to cloud alone."""

    suite: str
    items: str
    line: tuple[tuple[float, float], ...]
    places: tuple[Place, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def picture(row: Row) -> Picture | None:
    """Return the picture of a row's curve; None for a row without one, or one that does not hold numbers."""
    gap = row.figure(cascade_curve.GAP)
    points = curve_points(gap.notes.get("curve")) if gap else []
    here = curve_points([gap.notes.get("here")]) if gap else []
    if gap is None or len(points) < 2 or not here:
        return None
    named = [("edge only", points[0]), ("cloud only", points[-1]), ("as run", here[0])]
    every = [*points, here[0]]
    across = with_room([point[2] for point in every], PLOT.left, PLOT.right, least=0.0)
    up = with_room([point[3] for point in every], PLOT.bottom, PLOT.top)
    return Picture(
        str(gap.notes.get("suite")),
        str(gap.notes.get("n")),
        tuple((across.at(point[2]), up.at(point[3])) for point in points),
        tuple(Place(name, across.at(point[2]), up.at(point[3]), point[2], point[3]) for name, point in named),
        across.ticks(),
        up.ticks(),
    )


def curve_points(found: Any) -> list[Sequence[float]]:
    """Return the points of a curve that are five finite numbers; a run may come from anybody."""
    whole = found if isinstance(found, list | tuple) else []
    return [
        point
        for point in whole
        if isinstance(point, list | tuple)
        and len(point) == POINT
        and all(isinstance(one, int | float) and math.isfinite(one) for one in point)
    ]
