"""One figure in two runs: by how much it changed, and what that rests on.

Where each run holds the row against its own baseline, measured in turns, the two ratios are compared: the
machine's speed on either day is in both sides of each and falls out. Drift on the same windows of text is
compared window by window. What is left are two readings of a row alone, with the machine's speed in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.metrics import cost, latency, output_drift, throughput
from bench.metrics.figure import Metric, value_of
from bench.metrics.others import alone_notes, in_turns_notes
from bench.stats.intervals import LEAST_SAMPLES, Interval, mean_interval, ratio_interval

Json = Mapping[str, Any]
Sides = tuple[tuple[Json, Json], tuple[Json, Json]]  # (run, row) before and after
TIMES = (latency.E2EL, latency.TTFT, latency.TPOT, throughput.OUTPUT, cost.PER_1K, cost.PER_REQUEST)
IN_PAIRS = (output_drift.KLD, output_drift.TOP1, output_drift.PPL)

RATIO, ALONE, WINDOWS = "ratio to the baseline", "alone", "window by window"

# What unchanged code changed by between two runs half an hour apart (sd on the log scale, 47 rows of
# quantisation-cpu on 2026-11-26): 0.057 (requests) to 0.070 (tokens) for rows measured alone; 0.018, beyond
# their own intervals, for ratios measured in turns. Rounded up so that 97 of 100 pairs of runs of unchanged
# code say nothing at all (tests/metrics/test_no_false_alarm.py).
ALONE_APART_SD = 0.07
RATIOS_APART_SD = 0.03
_Z = 1.959964


@dataclass(frozen=True)
class Change:
    """``ratio`` is after ÷ before, with its 95 % bounds; ``basis`` says what was compared, ``note`` what
    else must be known."""

    before: float | None
    after: float | None
    ratio: float | None
    low: float | None
    high: float | None
    basis: str
    note: str = ""


def change(metric: Metric, sides: Sides) -> Change | None:
    """How a figure changed; None where neither run has it."""
    figures = [_figure(row, metric) for _run, row in sides]
    values = [value_of(figure) for figure in figures]
    if values == [None, None]:
        return None
    ratios = [_ratio_in_turns(run, row, metric) for run, row in sides]
    if metric in TIMES and ratios[0] and ratios[1]:
        return _of_ratios(ratios[0], ratios[1], "; ".join(in_turns_notes(sides)))
    if metric in IN_PAIRS and (found := _of_windows(metric, figures[0], figures[1])):
        return Change(values[0], values[1], found.value, found.low, found.high, WINDOWS)
    ratio = values[1] / values[0] if values[0] and values[1] is not None else None
    if metric not in TIMES:
        return Change(values[0], values[1], ratio, *ratio_bounds(figures[0], figures[1]), ALONE)
    note = "; ".join(alone_notes(sides))
    bounds = (None, None) if note else ratio_bounds(figures[0], figures[1], _Z * ALONE_APART_SD)
    return Change(values[0], values[1], ratio, *bounds, ALONE, note)


def _figure(row: Json, metric: Metric) -> Json | None:
    found: Json | None = {**row["metrics"], **row["drift"]}.get(metric.key)
    return found


# ---- a ratio of ratios ---------------------------------------------------------------------------


def _ratio_in_turns(run: Json, row: Json, metric: Metric) -> Json | None:
    """The run's own comparison of the row with its baseline, unless the two were measured apart."""
    wanted = (row["group"], row["name"], metric.key)
    for one in run["comparisons"]:
        if (one["group"], one["variant"], one["metric"]) == wanted and one["design"] != "solo":
            found: Json = one
            return found
    return None


def _of_ratios(before: Json, after: Json, note: str) -> Change:
    figures = [{**one, "value": one["ratio"]} for one in (before, after)]
    bounds = ratio_bounds(figures[0], figures[1], _Z * RATIOS_APART_SD)
    return Change(before["ratio"], after["ratio"], after["ratio"] / before["ratio"], *bounds, RATIO, note)


# ---- drift, window by window ---------------------------------------------------------------------


def _of_windows(metric: Metric, before: Json | None, after: Json | None) -> Interval | None:
    """The paired interval; None where the windows are not known to be the same, or a mean is not above 0.

    That the text is the same was seen to before. The text's name may differ, its digest may not.
    """
    if before is None or after is None:
        return None
    keys = ("n", "windows", "window")
    if [before.get(key) for key in keys] != [after.get(key) for key in keys]:
        return None
    means = [figure.get("window_means") or [] for figure in (before, after)]
    if len(means[0]) != len(means[1]) or len(means[0]) < LEAST_SAMPLES:
        return None
    if metric is output_drift.PPL:  # the means are logarithms
        found = mean_interval([b - a for a, b in zip(*means, strict=True)])
        low, high = (None if bound is None else math.exp(bound) for bound in (found.low, found.high))
        return Interval(math.exp(found.value), low, high)
    if min(map(math.fsum, means)) <= 0:
        return None
    return ratio_interval(means[1], means[0])


# ---- two figures on their own --------------------------------------------------------------------


def ratio_bounds(
    before: Json | None, after: Json | None, spread: float = 0.0
) -> tuple[float | None, float | None]:
    """95 % bounds of after ÷ before: distances on the log scale, in quadrature, ``spread`` added to both."""
    logs = [_logs(figure) for figure in (before, after)]
    if logs[0] is None or logs[1] is None:
        return None, None
    (low_b, mid_b, high_b), (low_a, mid_a, high_a) = logs[0], logs[1]
    down = math.hypot(mid_a - low_a, high_b - mid_b, spread)
    up = math.hypot(high_a - mid_a, mid_b - low_b, spread)
    return math.exp(mid_a - mid_b - down), math.exp(mid_a - mid_b + up)


def _logs(figure: Json | None) -> tuple[float, float, float] | None:
    """ln of a figure's lower bound, value and upper bound; None where one is missing or not above 0."""
    if figure is None:
        return None
    numbers = [figure["ci_low"], value_of(figure), figure["ci_high"]]
    if any(number is None or number <= 0 for number in numbers):
        return None
    low, middle, high = (math.log(number) for number in numbers)
    return low, middle, high


def verdict(metric: Metric, found: Change) -> str:
    """Better or worse when the whole interval is on one side of 1, in the metric's own direction."""
    if found.low is None or found.high is None or found.low <= 1 <= found.high:
        return "cannot tell"
    return "better" if (found.high < 1) == (metric.better == "lower") else "worse"
