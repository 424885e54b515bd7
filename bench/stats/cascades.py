"""The cost and the quality of a cascade at every threshold, from items that both models answered.

All is computed from one pass: a threshold only decides which of the two answers counts, and which costs are
paid. RouteLLM (Ong et al. 2024, arXiv 2406.18665) defines the figures: the performance gap recovered,
PGR = (q − q_edge) ÷ (q_cloud − q_edge), its average over the share of calls to the large model (APGR, the
area under PGR, 0.5 for a random choice), and the smallest share of calls that reaches a PGR (CPT).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.stats.intervals import Interval
from bench.stats.proportions import ALPHA, mcnemar, paired_difference

LEVELS = 10  # steps of the curve between which a fall is looked for
RESAMPLES = 500
MOST_UNDEFINED = 0.05  # of the resamples may have no gap between the models


@dataclass(frozen=True)
class Item:
    """A question that both models answered.

    ``doubt`` is higher the less sure the edge model was. ``edge`` and ``cloud`` are the quality of the
    answers, 1.0 for a right one, else 0.0. ``edge_usd`` is paid for every item, ``cloud_usd`` and ``cloud_s``
    for one that goes on.
    """

    doubt: float
    edge: float
    cloud: float
    edge_usd: float
    cloud_usd: float
    edge_s: float = 0.0
    cloud_s: float = 0.0


@dataclass(frozen=True)
class Point:
    """A place on the curve: items with a doubt above ``limit`` go on. ``usd``, ``seconds`` and ``quality``
    are means over all items, ``escalated`` is the share that goes on."""

    limit: float
    escalated: float
    usd: float
    quality: float
    seconds: float


def at(items: Sequence[Item], limit: float) -> Point:
    """Return the point of one threshold."""
    n, sent = len(items), [one for one in items if one.doubt > limit]
    return Point(
        limit,
        len(sent) / n,
        math.fsum(one.edge_usd for one in items) / n + math.fsum(one.cloud_usd for one in sent) / n,
        math.fsum(one.cloud if one.doubt > limit else one.edge for one in items) / n,
        math.fsum(one.edge_s for one in items) / n + math.fsum(one.cloud_s for one in sent) / n,
    )


def curve(items: Sequence[Item]) -> tuple[Point, ...]:
    """Return every point that differs, from the edge model alone to the large model for all.

    The limits lie midway between two doubts. Items with equal doubts go on together.
    """
    ordered = sorted(items, key=lambda one: -one.doubt)
    n = len(ordered)
    usd, seconds = (math.fsum(getattr(one, key) for one in ordered) / n for key in ("edge_usd", "edge_s"))
    quality = math.fsum(one.edge for one in ordered) / n
    points = [Point(ordered[0].doubt, 0.0, usd, quality, seconds)]
    for place, one in enumerate(ordered, start=1):
        usd, seconds = usd + one.cloud_usd / n, seconds + one.cloud_s / n
        quality += (one.cloud - one.edge) / n
        if place < n and ordered[place].doubt == one.doubt:
            continue
        below = ordered[place].doubt if place < n else math.nextafter(one.doubt, -math.inf)
        limit = (one.doubt + below) / 2 if place < n else below
        points.append(Point(limit, place / n, usd, quality, seconds))
    return tuple(points)


def gap(items: Sequence[Item]) -> Interval:
    """Return the quality of the large model − that of the edge model, with its paired 95 % interval."""
    both = [(one.edge > 0.5, one.cloud > 0.5) for one in items]
    counts = [both.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    return paired_difference(*counts)


def pgr(points: Sequence[Point], quality: float) -> float | None:
    """Return the share of the gap that a quality recovers; None where the large model is not better."""
    weak, strong = points[0].quality, points[-1].quality
    return (quality - weak) / (strong - weak) if strong - weak > 1e-12 else None


def apgr(points: Sequence[Point]) -> float | None:
    """Return the area under PGR over the share that goes on, by trapezoids; None without a gap."""
    heights = [pgr(points, point.quality) for point in points]
    known = [height for height in heights if height is not None]
    if len(known) < len(points):
        return None
    steps = zip(pairwise(point.escalated for point in points), pairwise(known), strict=True)
    return math.fsum((b - a) * (low + high) / 2 for (a, b), (low, high) in steps)


def cpt(points: Sequence[Point], share: float) -> float | None:
    """Return the smallest share of requests that must go on for a PGR of ``share``; None without a gap."""
    for point in points:
        found = pgr(points, point.quality)
        if found is None:
            return None
        if found >= share - 1e-9:
            return point.escalated
    return None


def summed_up(items: Sequence[Item], shares: Sequence[float]) -> list[Interval | None]:
    """Return APGR, then CPT at each of ``shares``, with percentile bootstrap intervals over items.

    There are no figures where the large model is not shown to be better: a gap of nothing has no share. There
    are no bounds where a twentieth of the resamples has no gap.
    """
    import numpy as np

    points, low = curve(items), gap(items).low
    values = [apgr(points), *(cpt(points, share) for share in shares)]
    if low is None or low <= 0:
        return [None for _ in values]
    ordered, draw = sorted(items, key=lambda one: -one.doubt), np.random.default_rng(0)
    n, columns = len(ordered), [[getattr(one, key) for one in ordered] for key in ("doubt", "edge", "cloud")]
    held = np.array(columns)
    drawn = (of_resample(held[:, np.sort(draw.integers(0, n, n))], shares) for _ in range(RESAMPLES))
    known = [found for found in drawn if found]
    return [
        None if value is None else _bounded(value, [found[place] for found in known])
        for place, value in enumerate(values)
    ]


def of_resample(held: Any, shares: Sequence[float]) -> list[float]:
    """Return APGR and each CPT of items, in rows of doubts (the highest first), edge and cloud qualities;
    nothing without a gap. It is ``apgr`` and ``cpt`` of their ``curve``, in arrays."""
    import numpy as np

    doubt, edge, cloud = held
    n = len(doubt)
    ends = np.concatenate([[True], doubt[1:] != doubt[:-1], [True]])
    recovered = np.concatenate([[0.0], np.cumsum(cloud - edge)])[ends]
    if recovered[-1] <= 1e-9:
        return []
    height, place = recovered / recovered[-1], (np.arange(n + 1) / n)[ends]
    area = float(np.trapezoid(height, place))
    return [area, *(float(place[np.argmax(height >= share - 1e-9)]) for share in shares)]


def _bounded(value: float, drawn: Sequence[float]) -> Interval:
    if len(drawn) < (1 - MOST_UNDEFINED) * RESAMPLES:
        return Interval(value, None, None)
    ordered, tail = sorted(drawn), int(ALPHA / 2 * len(drawn))
    return Interval(value, min(ordered[tail], value), max(ordered[-1 - tail], value))


def falls(items: Sequence[Item]) -> list[tuple[float, float]]:
    """Return (from, to): pairs of shares between which quality falls, beyond chance.

    The shares are ``LEVELS`` equal steps. Between two of them only the items that go on in between change
    their answer; the exact test of McNemar judges them, and Bonferroni's bound is over all pairs of levels.
    """
    ordered = sorted(items, key=lambda one: -one.doubt)
    places = [round(step * len(ordered) / LEVELS) for step in range(LEVELS + 1)]
    pairs = [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]]
    found = []
    for a, b in pairs:
        lost = sum(one.edge > one.cloud for one in ordered[a:b])
        gained = sum(one.cloud > one.edge for one in ordered[a:b])
        if lost > gained and mcnemar(lost, gained) <= ALPHA / len(pairs):
            found.append((a / len(ordered), b / len(ordered)))
    return found
