"""The picture of a run beside APIs, dollars against requests a month, as geometry that a template draws.

An API is a straight line, because each request is billed. A machine of one's own is a staircase: it costs the
same whether it works or not, and a second one is needed when the first is full. Both axes are logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.plan.against import Comparison
from bench.plan.served import Served
from bench.pricing.break_even import HOURS_PER_MONTH
from bench.report.axes import LogScale, Tick

WIDTH, HEIGHT = 940, 450
LEFT, TOP, RIGHT, BOTTOM = 84.0, 36.0, 600.0, 400.0
BELOW, ABOVE = 0.03, 6.0  # the volumes drawn: from a part of a machine's capacity to several machines
MOST_STAIRS = 1000  # a row that is so much slower than another one is drawn as a line
JUST_ABOVE = 1 + 1e-9  # a volume that one machine less does not answer
LINE_PX = 15.0  # between the names of two lines


@dataclass(frozen=True)
class Line:
    """One line, named at its right end; ``own`` is a machine, ``same`` an API with the same weights."""

    name: str
    points: str
    own: bool
    same: bool
    end_y: float
    name_y: float


@dataclass(frozen=True)
class Crossing:
    """Where an API's line meets that of a machine that works all the time it must."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Picture:
    """Everything to draw."""

    title: str
    lines: tuple[Line, ...]
    crossings: tuple[Crossing, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def picture(title: str, found: Comparison) -> Picture:
    """Make the picture of the chosen rows and all APIs."""
    fullest = [_capacity(row) for row in found.chosen]
    x = LogScale(min(fullest) * BELOW, max(fullest) * ABOVE, LEFT, RIGHT)
    own = {row.title: _stairs(row, x) for row in found.chosen}
    billed = {name: [(volume, volume * usd) for volume in (x.low, x.high)] for name, usd in _billed(found)}
    dollars = [usd for points in (*own.values(), *billed.values()) for _volume, usd in points]
    y = LogScale(min(dollars) * 0.9, max(dollars) * 1.1, BOTTOM, TOP)
    same = {name for name, _usd in _billed(found, same_weights=True)}
    drawn = [
        (name, " ".join(f"{x.at(volume)},{y.at(usd)}" for volume, usd in points), y.at(points[-1][1]))
        for name, points in (*own.items(), *billed.items())
    ]
    places = _apart([end for _name, _points, end in drawn])
    lines = tuple(
        Line(name, points, name in own, name in same, end, place)
        for (name, points, end), place in zip(drawn, places, strict=True)
    )
    crossings = tuple(
        Crossing(x.at(volume), y.at(volume * pair.api_usd), f"{pair.row.title} = {api.offer.ref}")
        for api in found.apis
        for pair in api.pairs
        if (volume := pair.even.requests_per_month) is not None and x.low < volume < x.high
    )
    return Picture(title, lines, crossings, x.ticks(), y.ticks())


def _billed(found: Comparison, *, same_weights: bool = False) -> Iterator[tuple[str, float]]:
    """Yield the name of each API with what it bills for a request, for the requests of each chosen row. One
    that is free has no line: there is no 0 on a logarithmic axis.

    ``same_weights`` leaves other models out.
    """
    for api in found.apis:
        if same_weights and not api.same_weights:
            continue
        for pair in api.pairs:
            if not pair.api_usd:
                continue
            mix = pair.row.billed
            length = f", {mix.input_tokens:.4g} + {mix.output_tokens:.4g} tokens"
            yield api.offer.ref + ("" if found.same_requests else length), pair.api_usd


def _capacity(row: Served) -> float:
    """Return the requests a month that a whole machine answers if all its servers always work."""
    return row.own.servers * HOURS_PER_MONTH * 3600 / row.own.request_s.value


def _stairs(row: Served, x: LogScale) -> list[tuple[float, float]]:
    """Return the corners of a row's staircase: (requests a month, dollars a month)."""
    full = _capacity(row)
    stairs = math.ceil(x.high / full) if x.high / full < MOST_STAIRS else 1
    edges = [count * full for count in range(1, stairs) if x.low < count * full]
    corners = [(x.low, _month_usd(row, x.low))]
    for edge in edges:
        corners += [(edge, _month_usd(row, edge)), (edge, _month_usd(row, edge * JUST_ABOVE))]
    return [*corners, (x.high, _month_usd(row, x.high))]


def _month_usd(row: Served, volume: float) -> float:
    """Return the dollars of a month: as many machines as the volume needs, and power for the work."""
    machines = max(math.ceil(volume / _capacity(row)), 1)
    power_usd = volume * row.own.busy_hour_usd * row.own.request_s.value / 3600
    return machines * row.own.servers * row.own.hour_usd * HOURS_PER_MONTH + power_usd


def _apart(ends: Sequence[float]) -> list[float]:
    """Return a place for each name near the end of its line, so that no two overlap and none is below."""
    order = sorted(range(len(ends)), key=lambda index: ends[index])
    places = list(ends)
    for above, below in pairwise(order):
        places[below] = max(places[below], places[above] + LINE_PX)
    lowest = HEIGHT - LINE_PX
    for index in reversed(order):
        places[index] = lowest = min(places[index], lowest)
        lowest -= LINE_PX
    return places


def svg(found: Picture) -> str:
    """Return the picture as an SVG file, readable on its own."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bench.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    box = {"left": LEFT, "top": TOP, "right": RIGHT, "bottom": BOTTOM, "width": WIDTH, "height": HEIGHT}
    return environment.get_template("volumes.svg.j2").render(picture=found, box=box)
