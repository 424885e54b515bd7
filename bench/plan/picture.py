"""Compute the picture that compares a run with APIs: US dollars per month against requests per month.

An API is a straight line, because each request is billed. Your own machines are a staircase: a machine costs
the same whether it works or not, and when it is full you need another one. Both axes are logarithmic. This
module computes the geometry, and a template draws it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.plan.api_comparison import Comparison
from bench.plan.served import Served
from bench.pricing.hardware import HOURS_PER_MONTH
from bench.report.axes import LogScale, Tick

WIDTH, HEIGHT = 940, 450
LEFT, TOP, RIGHT, BOTTOM = 84.0, 36.0, 600.0, 400.0
BELOW, ABOVE = 0.03, 6.0  # ends of the volume axis, as multiples of the capacity of one machine
MOST_STAIRS = 1000  # a row that needs more stairs than this is drawn as a line
JUST_ABOVE = 1 + 1e-9  # factor on the volume of full machines that makes one more machine necessary
LINE_PX = 15.0  # distance between the names of two lines


@dataclass(frozen=True)
class Line:
    """One line of the picture, with its name at the right end.

    ``own`` is true for the user's machine, ``same`` for an API with the same weights.
    """

    name: str
    points: str
    own: bool
    same: bool
    end_y: float
    name_y: float


@dataclass(frozen=True)
class Crossing:
    """The point where the line of an API crosses the line of a machine (`BreakEven`)."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Picture:
    """Everything that the template draws."""

    title: str
    lines: tuple[Line, ...]
    crossings: tuple[Crossing, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def picture(title: str, comparison: Comparison) -> Picture:
    """Compute the picture of the chosen rows and all APIs."""
    fullest = [_capacity(row) for row in comparison.chosen]
    x = LogScale(min(fullest) * BELOW, max(fullest) * ABOVE, LEFT, RIGHT)
    own = {row.title: _stairs(row, x) for row in comparison.chosen}
    apis = _billed(comparison)
    billed = {name: [(volume, volume * usd) for volume in (x.low, x.high)] for name, usd in apis}
    dollars = [usd for points in (*own.values(), *billed.values()) for _volume, usd in points]
    y = LogScale(min(dollars) * 0.9, max(dollars) * 1.1, BOTTOM, TOP)
    same = {name for name, _usd in _billed(comparison, same_weights=True)}
    drawn = [
        (name, " ".join(f"{x.at(volume)},{y.at(usd)}" for volume, usd in points), y.at(points[-1][1]))
        for name, points in (*own.items(), *billed.items())
    ]
    places = _spread_out([end for _name, _points, end in drawn])
    lines = tuple(
        Line(name, points, name in own, name in same, end, place)
        for (name, points, end), place in zip(drawn, places, strict=True)
    )
    crossings = tuple(
        Crossing(x.at(volume), y.at(volume * pair.api_usd), f"{pair.row.title} = {api.offer.ref}")
        for api in comparison.apis
        for pair in api.pairs
        if (volume := pair.even.requests_per_month) is not None and x.low < volume < x.high
    )
    return Picture(title, lines, crossings, x.ticks(), y.ticks())


def _billed(comparison: Comparison, *, same_weights: bool = False) -> Iterator[tuple[str, float]]:
    """Yield (name, US dollars per request) of each API, for the mean request of each chosen row.

    A free API is left out, because a logarithmic axis has no 0. With ``same_weights``, APIs that sell other
    models are left out too.
    """
    for api in comparison.apis:
        if same_weights and not api.same_weights:
            continue
        for pair in api.pairs:
            if not pair.api_usd:
                continue
            mix = pair.row.billed
            length = f", {mix.input_tokens:.4g} + {mix.output_tokens:.4g} tokens"
            yield api.offer.ref + ("" if comparison.same_requests else length), pair.api_usd


def _capacity(row: Served) -> float:
    """Return the requests per month of a whole machine whose servers work all the time."""
    return row.own.servers * HOURS_PER_MONTH * 3600 / row.own.request_s.value


def _stairs(row: Served, x: LogScale) -> list[tuple[float, float]]:
    """Return the corners of a row's staircase as (requests per month, US dollars per month)."""
    full = _capacity(row)
    stairs = math.ceil(x.high / full) if x.high / full < MOST_STAIRS else 1
    edges = [count * full for count in range(1, stairs) if x.low < count * full]
    corners = [(x.low, _month_usd(row, x.low))]
    for edge in edges:
        corners += [(edge, _month_usd(row, edge)), (edge, _month_usd(row, edge * JUST_ABOVE))]
    return [*corners, (x.high, _month_usd(row, x.high))]


def _month_usd(row: Served, volume: float) -> float:
    """Return the US dollars per month of the machines that the volume needs, and of the power of the work."""
    machines = max(math.ceil(volume / _capacity(row)), 1)
    power_usd = volume * row.own.busy_hour_usd * row.own.request_s.value / 3600
    return machines * row.own.servers * row.own.rented_hour_usd * HOURS_PER_MONTH + power_usd


def _spread_out(ends: Sequence[float]) -> list[float]:
    """Return the y of each name, near the end of its line, so that no two names overlap.

    All names stay above the lower edge of the picture.
    """
    order = sorted(range(len(ends)), key=lambda index: ends[index])
    places = list(ends)
    for above, below in pairwise(order):
        places[below] = max(places[below], places[above] + LINE_PX)
    lowest = HEIGHT - LINE_PX
    for index in reversed(order):
        places[index] = lowest = min(places[index], lowest)
        lowest -= LINE_PX
    return places


def svg(drawing: Picture) -> str:
    """Return the picture as the text of a complete SVG file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    box = {"left": LEFT, "top": TOP, "right": RIGHT, "bottom": BOTTOM, "width": WIDTH, "height": HEIGHT}
    return environment.get_template("volumes.svg.j2").render(picture=drawing, box=box)
