"""Compute the cost and the quality of a cascade at every threshold, from items that both models answered.

One pass is enough for all thresholds, because a threshold only decides which of the two answers counts and
which costs are paid. The figures are those of RouteLLM (Ong et al. 2024, arXiv 2406.18665):

- PGR, the performance gap recovered: (q − q_edge) ÷ (q_cloud − q_edge).
- APGR, the average PGR over the share of calls to the large model, which is the area under the curve. A
  random choice has 0.5.
- CPT, the call-performance threshold: the smallest share of calls that reaches a given PGR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.stats.intervals import Interval
from bench.stats.proportions import ALPHA, mcnemar, paired_difference

LEVELS = 10  # ``falls`` compares the quality at the ends of this many equal steps of the curve
RESAMPLES = 500
MOST_UNDEFINED = 0.05  # the largest share of resamples in which the large model may be no better


@dataclass(frozen=True)
class Item:
    """Hold a question that both models answered.

    A higher ``doubt`` means that the edge model was less sure. ``edge`` and ``cloud`` are the quality of the
    two answers: 1.0 if right, else 0.0. Every item costs ``edge_usd`` and ``edge_s``; an item that is sent to
    the large model costs ``cloud_usd`` and ``cloud_s`` more.
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
    """Describe a cascade that sends items with a doubt above ``limit`` to the large model.

    ``escalated`` is the share of items that it sends. ``usd``, ``quality`` and ``seconds`` are means over all
    items.
    """

    limit: float
    escalated: float
    usd: float
    quality: float
    seconds: float


def at(items: Sequence[Item], limit: float) -> Point:
    """Return the cascade's point at one threshold. Raises ZeroDivisionError without items."""
    n, sent = len(items), [item for item in items if item.doubt > limit]
    return Point(
        limit,
        len(sent) / n,
        math.fsum(item.edge_usd for item in items) / n + math.fsum(item.cloud_usd for item in sent) / n,
        math.fsum(item.cloud if item.doubt > limit else item.edge for item in items) / n,
        math.fsum(item.edge_s for item in items) / n + math.fsum(item.cloud_s for item in sent) / n,
    )


def curve(items: Sequence[Item]) -> tuple[Point, ...]:
    """Return one point per distinct threshold, from no item sent to the large model to all items sent.

    Each limit lies midway between two neighbouring doubts. Items with equal doubts are sent together.
    """
    ordered = sorted(items, key=lambda item: -item.doubt)
    n = len(ordered)
    usd, seconds = (math.fsum(getattr(item, key) for item in ordered) / n for key in ("edge_usd", "edge_s"))
    quality = math.fsum(item.edge for item in ordered) / n
    points = [Point(ordered[0].doubt, 0.0, usd, quality, seconds)]
    for place, item in enumerate(ordered, start=1):
        usd, seconds = usd + item.cloud_usd / n, seconds + item.cloud_s / n
        quality += (item.cloud - item.edge) / n
        if place < n and ordered[place].doubt == item.doubt:
            continue
        below = ordered[place].doubt if place < n else math.nextafter(item.doubt, -math.inf)
        limit = (item.doubt + below) / 2 if place < n else below
        points.append(Point(limit, place / n, usd, quality, seconds))
    return tuple(points)


def gap(items: Sequence[Item]) -> Interval:
    """Return the large model's quality minus the edge model's, with a 95 % interval for paired answers."""
    both = [(item.edge > 0.5, item.cloud > 0.5) for item in items]
    counts = [both.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    return paired_difference(*counts)


def pgr(points: Sequence[Point], quality: float) -> float | None:
    """Return the PGR of a quality; None if the large model is not better on these points."""
    weak, strong = points[0].quality, points[-1].quality
    return (quality - weak) / (strong - weak) if strong - weak > 1e-12 else None


def apgr(points: Sequence[Point]) -> float | None:
    """Return the area under PGR over the share of calls, by trapezoids; None if there is no gap."""
    heights = [pgr(points, point.quality) for point in points]
    defined = [height for height in heights if height is not None]
    if len(defined) < len(points):
        return None
    steps = zip(pairwise(point.escalated for point in points), pairwise(defined), strict=True)
    return math.fsum((b - a) * (low + high) / 2 for (a, b), (low, high) in steps)


def cpt(points: Sequence[Point], share: float) -> float | None:
    """Return the smallest share of calls to the large model with a PGR of ``share``; None without a gap."""
    for point in points:
        recovered = pgr(points, point.quality)
        if recovered is None:
            return None
        if recovered >= share - 1e-9:
            return point.escalated
    return None


def summed_up(items: Sequence[Item], shares: Sequence[float]) -> list[Interval | None]:
    """Return APGR, then CPT at each of ``shares``, with percentile bootstrap intervals over items.

    Every entry is None unless the interval of the gap is above 0, because PGR is a share of that gap. The
    bounds are None if more than a twentieth of the resamples has no gap.
    """
    import numpy as np

    points, low = curve(items), gap(items).low
    values = [apgr(points), *(cpt(points, share) for share in shares)]
    if low is None or low <= 0:
        return [None for _ in values]
    ordered, draw = sorted(items, key=lambda item: -item.doubt), np.random.default_rng(0)
    n, columns = len(ordered), ("doubt", "edge", "cloud")
    table = np.array([[getattr(item, key) for item in ordered] for key in columns])
    drawn = (of_resample(table[:, np.sort(draw.integers(0, n, n))], shares) for _ in range(RESAMPLES))
    with_gap = [figures for figures in drawn if figures]
    return [
        None if value is None else _bounded(value, [figures[place] for figures in with_gap])
        for place, value in enumerate(values)
    ]


def of_resample(table: Any, shares: Sequence[float]) -> list[float]:
    """Return APGR and the CPT at each of ``shares``; an empty list without a gap.

    ``table`` has shape [3, items]: doubts, edge qualities, cloud qualities, with the highest doubt first. The
    result equals ``apgr`` and ``cpt`` of the items' ``curve``; arrays make it fast enough for a bootstrap.
    """
    import numpy as np

    doubt, edge, cloud = table
    n = len(doubt)
    ends = np.concatenate([[True], doubt[1:] != doubt[:-1], [True]])
    recovered = np.concatenate([[0.0], np.cumsum(cloud - edge)])[ends]
    if recovered[-1] <= 1e-9:
        return []
    height, place = recovered / recovered[-1], (np.arange(n + 1) / n)[ends]
    area = float(np.trapezoid(height, place))
    return [area, *(float(place[np.argmax(height >= share - 1e-9)]) for share in shares)]


def _bounded(value: float, drawn: Sequence[float]) -> Interval:
    """Return a figure with percentiles of its resamples as bounds, if enough resamples have the figure."""
    if len(drawn) < (1 - MOST_UNDEFINED) * RESAMPLES:
        return Interval(value, None, None)
    ordered, tail = sorted(drawn), int(ALPHA / 2 * len(drawn))
    return Interval(value, min(ordered[tail], value), max(ordered[-1 - tail], value))


def falls(items: Sequence[Item]) -> list[tuple[float, float]]:
    """Return pairs (from, to) of shares of calls between which the quality falls by more than chance allows.

    The shares are the ends of ``LEVELS`` equal steps. From one share to a larger one, only the items that are
    sent in addition change their answer. McNemar's exact test compares the two answers of those items, at
    5 % divided by the number of pairs (Bonferroni).
    """
    ordered = sorted(items, key=lambda item: -item.doubt)
    places = [round(step * len(ordered) / LEVELS) for step in range(LEVELS + 1)]
    pairs = [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]]
    falling = []
    for a, b in pairs:
        lost = sum(item.edge > item.cloud for item in ordered[a:b])
        gained = sum(item.cloud > item.edge for item in ordered[a:b])
        if lost > gained and mcnemar(lost, gained) <= ALPHA / len(pairs):
            falling.append((a / len(ordered), b / len(ordered)))
    return falling
