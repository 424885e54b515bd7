"""Find the Pareto front of a run: the rows for which no other row of the cell is better in cost and drift."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from bench.metrics import encoded, output_drift
from bench.results.headline import headline
from bench.results.row import Row
from bench.stats.ratio_verdict import Verdict

if TYPE_CHECKING:
    from bench.results.run_summary import RunSummary

Name = TypeVar("Name", str, int)


def fronts(run: RunSummary) -> dict[str, frozenset[str]]:
    """Return the names of the rows on the front of each cell of the sweep.

    A cost ratio with the verdict ``cannot tell`` counts as 1, and drift within the noise floor as 0. The run
    of a gate has no front, because it has only few ratios. A run of servers has none if their outputs were
    not compared.
    """
    compared = any(row.figure(output_drift.KLD) for row in run.rows)
    if run.gate is not None or (run.served and not compared):
        return {}
    points: dict[str, list[tuple[float, float, str]]] = {}
    for row in run.rows:
        ratio, drift = _ratio(run, row), _drift(row)
        if row.ok and ratio is not None and drift is not None:
            points.setdefault(row.group, []).append((ratio, drift, row.name))
    return {group: frozenset(undominated(of_group)) for group, of_group in points.items()}


def undominated(points: Iterable[tuple[float, float, Name]]) -> Iterator[Name]:
    """Yield the names of the points (first number, second number, name) that no other point dominates.

    A point dominates another if it is lower in one of the two numbers and not higher in the other. The points
    are visited in the order of their first number. A point stays if its second number is below those of all
    points with a lower first number, and is the lowest of those with the same first number.
    """
    least = closest = math.inf  # lowest second number: of points with a lower first number, with the same one
    at = -math.inf
    for first, second, name in sorted(points):
        if first > at:
            least, closest, at = min(least, closest), second, first
        if second == closest and second < least:
            yield name


def _ratio(run: RunSummary, row: Row) -> float | None:
    ratio = headline(run, row)
    if row.is_baseline or (ratio and ratio.verdict == Verdict.CANNOT_TELL):
        return 1.0
    return ratio.ratio if ratio else None


def _drift(row: Row) -> float | None:
    figure = row.figure(output_drift.KLD)
    if row.is_baseline:
        return 0.0
    if figure is None:
        return _drift_of_encoder(row)
    if row.contradiction:
        return None
    return figure.value if output_drift.above_floor(figure) else 0.0


def _drift_of_encoder(row: Row) -> float | None:
    """Return 1 − cosine of the vectors to the baseline's, or the share of labels that changed."""
    cosine, flips = row.figure(encoded.COSINE), row.figure(encoded.FLIPS)
    if cosine is not None:
        return max(1 - cosine.value, 0.0)
    return flips.value if flips else None
