"""Compute the other statistics of llama.cpp: quantiles of KL and Δp, and the paired change of perplexity.

They need no further pass, because they come from the values of every scored position. ``se`` in a figure is
llama.cpp's standard error, which assumes independent positions; the interval is over windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from bench.drift import kl_and_perplexity as drift
from bench.drift import moments
from bench.metrics.output_drift import scored_on
from bench.records import ArmRecord, DriftWindow, RunRecord
from bench.stats.clustered import quantile_intervals
from bench.stats.figure import ANY_NUMBER, DIFFERENCE, NOT_NEGATIVE, Figures, Metric, Range
from bench.stats.intervals import Interval, bootstrap_interval

PLACE = 8.1
_PLACES = {
    "min": 0.0, "p01": 0.01, "p05": 0.05, "p10": 0.1, "median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99,
    "p999": 0.999, "max": 1.0,
}  # fmt: skip
_ELSEWHERE = ("p99", "max")  # these two of KL are in the family of output drift
Better = Literal["lower", "higher"] | None
_BY = "interval by Woodruff's method over windows"


def _quantile(
    key: str, unit: str, what: str, name: str, better: Better, within: Range = NOT_NEGATIVE
) -> Metric:
    place = _PLACES[name]
    words = {"min": "smallest", "median": "median", "max": "largest"}.get(name)
    # This gives "1th" for 0.01. Stored runs have it, and ``formatting.with_ordinals`` shows it as "1st".
    which = f"{words} {what}" if words else f"{100 * place:.4g}th percentile of {what}"
    with_interval = "" if name in ("min", "max") else f"; {_BY}"
    return Metric(
        f"{key}_{name}", unit, better, f"{which} over the scored positions{with_interval}", "", within
    )


KLD = {
    name: _quantile("kld", "nat", "KL", name, "lower") for name in _PLACES if name not in _ELSEWHERE
}  # fmt: skip
DELTA_P = {
    name: _quantile("delta_p", "1", "Q(x_t) − P(x_t)", name, "higher" if place < 0.5 else None, DIFFERENCE)
    for name, place in _PLACES.items()
}
MEAN_DELTA_P = Metric(
    "delta_p_mean",
    "1",
    "higher",
    "mean (Q(x_t) − P(x_t)); interval by bootstrap over windows",
    "",
    range=DIFFERENCE,
)
LN_RATIO = Metric(
    "ln_ppl_ratio",
    "nat",
    "lower",
    "mean(ln P(x_t) − ln Q(x_t)); interval by bootstrap over windows",
    "",
    range=ANY_NUMBER,
)
CHANGE = Metric(
    "ppl_change", "1", "lower",
    "PPL(Q) − PPL(P); se = √(u_Q² + u_P² − 2·PPL_Q·PPL_P·cov), u = PPL·σ; interval by linearisation and "
    "bootstrap over windows",
    "", range=ANY_NUMBER
)  # fmt: skip
METRICS = (*KLD.values(), MEAN_DELTA_P, *DELTA_P.values(), LN_RATIO, CHANGE)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of a variant; None for a baseline, or if nothing was scored."""
    result: Figures = {metric.key: None for metric in METRICS}
    if arm.is_baseline or not arm.drift:
        return result
    scored = scored_on(arm.drift, run)
    notes = {key: scored[key] for key in ("n", "windows")}
    kld, changes = [window.kld for window in arm.drift], moments.delta_p(arm.drift)
    for metrics, values in ((KLD, kld), (DELTA_P, changes)):
        intervals = quantile_intervals(values, [_PLACES[name] for name in metrics])
        for metric, interval in zip(metrics.values(), intervals, strict=True):
            result[metric.key] = metric.scalar(interval, **notes)
    mean = bootstrap_interval(changes)
    result[MEAN_DELTA_P.key] = MEAN_DELTA_P.scalar(mean, se=moments.error_of_mean(changes), **notes)
    return result | _of_perplexity(arm.drift, notes)


def _of_perplexity(windows: Sequence[DriftWindow], notes: dict[str, object]) -> Figures:
    """Return the figures of the paired perplexities."""
    lost, paired = drift.ln_p_lost(windows), moments.perplexities(windows)
    if paired is None:
        return {}
    ratio = LN_RATIO.scalar(
        bootstrap_interval(lost), se=paired.ln_ratio_error, correlation=paired.correlation, **notes
    )
    apart = bootstrap_interval(_linearised(windows, paired))
    low, high = (None if bound is None else paired.change + bound for bound in (apart.low, apart.high))
    change = CHANGE.scalar(Interval(paired.change, low, high), se=paired.change_error, **notes)
    return {LN_RATIO.key: ratio, CHANGE.key: change}


def _linearised(windows: Sequence[DriftWindow], paired: moments.Perplexities) -> list[list[float]]:
    """Return the first-order contribution of each position to PPL(Q) − PPL(P); the mean of them is 0."""
    mean_p, mean_q = math.log(paired.base), math.log(paired.variant)
    return [
        [
            paired.variant * (-q - mean_q) - paired.base * (-p - mean_p)
            for p, q in zip(window.ln_p_base, window.ln_p_variant, strict=True)
        ]
        for window in windows
    ]
