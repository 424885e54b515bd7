"""Compute how much a figure changed between two runs.

If both runs measured the row in turns with its baseline, the two ratios are compared, because the speed of
the machine on the day cancels out of a ratio. Drift on the same windows of text is compared window by window.
Any other figure was measured on the row alone, so its change includes the change of the machine's speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.metrics import cost, latency, output_drift, throughput
from bench.metrics.comparisons import Comparison
from bench.results.disturbance import alone_notes, in_turns_notes
from bench.results.paired_figures import in_turns
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.figure import Figure, Metric, ratio_bounds, value_of
from bench.stats.intervals import LEAST_SAMPLES, NORMAL_95, Interval, mean_interval, ratio_interval
from bench.stats.ratio_verdict import Verdict, verdict_of

Sides = tuple[tuple[RunSummary, Row], tuple[RunSummary, Row]]  # before and after
TIMES = (latency.E2EL, latency.TTFT, latency.TPOT, throughput.OUTPUT, cost.PER_1K, cost.PER_REQUEST)
IN_PAIRS = (output_drift.KLD, output_drift.TOP1, output_drift.PPL)

RATIO, ALONE, WINDOWS = "ratio to the baseline", "alone", "window by window"

# How much figures of unchanged code differ between two runs half an hour apart: standard deviations on the
# log scale, from 47 rows of quantisation-cpu on 2026-11-26. For rows measured alone they were 0.057
# (requests) to 0.070 (tokens); for ratios measured in turns, 0.018 more than their intervals explain. Both
# values are rounded up so that 97 of 100 pairs of runs of unchanged code report no change
# (tests/results/test_no_false_alarm.py).
ALONE_APART_SD = 0.07
RATIOS_APART_SD = 0.03


@dataclass(frozen=True)
class Change:
    """The change of a figure. ``ratio`` is after ÷ before; ``low`` and ``high`` are its 95 % bounds.

    ``basis`` says how the two were compared, and ``note`` what else the reader must know.
    """

    before: float | None
    after: float | None
    ratio: float | None
    low: float | None
    high: float | None
    basis: str
    note: str = ""


def change(metric: Metric, sides: Sides) -> Change | None:
    """Return how a figure changed, or None if neither run has it."""
    figures = [row.figure(metric) for _run, row in sides]
    values = [value_of(figure) for figure in figures]
    if values == [None, None]:
        return None
    ratios = [run.comparison(row, metric) for run, row in sides]
    if metric in TIMES and ratios[0] and ratios[1] and in_turns(ratios[0]) and in_turns(ratios[1]):
        return _of_ratios(ratios[0], ratios[1], "; ".join(in_turns_notes(sides)))
    if metric in IN_PAIRS and (paired := _of_windows(metric, figures[0], figures[1])):
        return Change(values[0], values[1], paired.value, paired.low, paired.high, WINDOWS)
    ratio = values[1] / values[0] if values[0] and values[1] is not None else None
    if metric not in TIMES:
        return Change(values[0], values[1], ratio, *ratio_bounds(figures[0], figures[1]), ALONE)
    note = "; ".join(alone_notes(sides))
    bounds = (None, None) if note else ratio_bounds(figures[0], figures[1], NORMAL_95 * ALONE_APART_SD)
    return Change(values[0], values[1], ratio, *bounds, ALONE, note)


def _of_ratios(before: Comparison, after: Comparison, note: str) -> Change:
    """Return the change of a row's ratio to its baseline: the ratio of the two ratios."""
    intervals = [Interval(side.ratio, side.ci_low, side.ci_high) for side in (before, after)]
    bounds = ratio_bounds(intervals[0], intervals[1], NORMAL_95 * RATIOS_APART_SD)
    return Change(before.ratio, after.ratio, after.ratio / before.ratio, *bounds, RATIO, note)


def _of_windows(metric: Metric, before: Figure | None, after: Figure | None) -> Interval | None:
    """Return after ÷ before with an interval over pairs of windows.

    Returns None if the two runs may have used different windows, or if a mean is not above 0. The caller has
    already checked, by its digest, that both runs used the same text.
    """
    if before is None or after is None:
        return None
    scored = [[figure.notes.get(key) for key in ("n", "windows", "window")] for figure in (before, after)]
    if scored[0] != scored[1]:
        return None
    means = [figure.notes.get("window_means") or [] for figure in (before, after)]
    if len(means[0]) != len(means[1]) or len(means[0]) < LEAST_SAMPLES:
        return None
    if metric is output_drift.PPL:  # the means are logarithms
        log_ratio = mean_interval([b - a for a, b in zip(*means, strict=True)])
        low, high = (None if bound is None else math.exp(bound) for bound in (log_ratio.low, log_ratio.high))
        return Interval(math.exp(log_ratio.value), low, high)
    if min(map(math.fsum, means)) <= 0:
        return None
    return ratio_interval(means[1], means[0])


def verdict(metric: Metric, changed: Change) -> Verdict:
    """Return better or worse if the whole interval lies on one side of 1, otherwise ``cannot tell``."""
    if changed.ratio is None:
        return Verdict.CANNOT_TELL
    interval = Interval(changed.ratio, changed.low, changed.high)
    return verdict_of(interval, lower_is_better=metric.better == "lower")
