"""Choose the figure of a row that is shown: every table, format and plan takes times and money from here.

A variant is measured twice: alone, and in turns with its baseline. The machine changes from minute to minute,
so the figures of two rows that were measured alone cannot be compared. What is shown is therefore the
baseline's figure, measured alone, times the ratio that was measured in turns. A figure that has no ratio of
its own, such as the prefill throughput, is multiplied by the factor of a figure that shares its time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.metrics import characters, cost, goodput, latency, requests, throughput, under_load
from bench.metrics.comparisons import Comparison
from bench.stats.figure import Figure, Metric, value_of
from bench.stats.intervals import Interval
from bench.stats.plain_sum import plain_sum
from bench.stats.ratio_verdict import RatioDesign

if TYPE_CHECKING:
    from bench.results.row import Row
    from bench.results.run_summary import RunSummary

# The metrics whose figure of the row alone stands beside the one that is shown, in exports.
BOTH = (latency.TTFT, latency.TPOT, latency.E2EL, throughput.OUTPUT, cost.PER_1K, cost.PER_REQUEST)
# For each key: the keys of figures that share its time, and the power by which their factor is taken.
_LIKE: dict[str, tuple[tuple[str, ...], int]] = {
    latency.ITL.key: ((latency.TPOT.key,), 1),
    throughput.DECODE.key: ((latency.TPOT.key,), -1),
    throughput.PREFILL.key: ((latency.TTFT.key,), -1),
    throughput.REQUESTS.key: ((throughput.OUTPUT.key, throughput.TOTAL.key), 1),
    throughput.TOTAL.key: ((throughput.OUTPUT.key,), 1),
    goodput.GOODPUT.key: ((throughput.OUTPUT.key, throughput.TOTAL.key), 1),
    requests.TOKEN_GOODPUT.key: ((throughput.OUTPUT.key,), 1),
    goodput.PER_GOOD.key: ((cost.PER_REQUEST.key,), 1),
    requests.TTFT_SCHED.key: ((latency.TTFT.key,), 1),
    requests.TTFO.key: ((latency.TTFT.key,), 1),
    requests.E2EL_SCHED.key: ((latency.E2EL.key,), 1),
    **{metric.key: ((cost.PER_1K.key,), 1) for metric in (*cost.METRICS, characters.PER_1K)},
}
# The cost of a phase, and the figure whose factor its time has.
_PHASES = {cost.PER_1K_IN.key: latency.TTFT.key, cost.PER_1K_OUT.key: latency.TPOT.key}
# A percentile keeps its own bounds, which are wider than those of the mean.
_PERCENTILES = {metric.key: of.key for (of, _share), metric in under_load.PERCENTILES.items()}


def in_turns(ratio: Comparison | None) -> bool:
    """Return whether both sides of a ratio were measured together (in turns), not each row alone."""
    return ratio is not None and ratio.design != RatioDesign.SOLO


def shown(run: RunSummary, row: Row, metric: Metric | str) -> Interval | None:
    """Return the figure of a row as it is shown, or None if the row has none.

    For a figure of time or money of a variant that ran in turns with its baseline, it is the product that the
    module describes. Otherwise it is the row's own figure.
    """
    key = metric if isinstance(metric, str) else metric.key
    if (paired := product(run, row, key)) is not None:
        return paired
    figure = row.figure(key)
    if figure is None:
        return None
    if (mean := _PERCENTILES.get(key)) is not None and (factor := factor_of(run, row, mean)) is not None:
        return figure.interval.times(factor)
    if key in _PHASES and (phase := _of_phase(run, row, key)) is not None:
        return phase
    parents, power = _LIKE.get(key, ((), 1))
    for parent in parents:
        paired, factor = product(run, row, parent), factor_of(run, row, parent)
        if paired is not None and factor is not None:
            return _in_proportion(figure.value * factor**power, paired, power)
    return figure.interval


def shown_value(run: RunSummary, row: Row, metric: Metric | str) -> float | None:
    """Return the number that is shown, or None if the row has none."""
    interval = shown(run, row, metric)
    return None if interval is None else float(interval.value)


def factor_of(run: RunSummary, row: Row, metric: Metric | str) -> float | None:
    """Return the figure that is shown divided by the one in the row's record; None if they are the same.

    The dollars in the record of a run are multiplied already, so their factor is 1.
    """
    paired, figure = product(run, row, metric), row.figure(metric)
    if paired is None or figure is None or figure.value <= 0 or paired.value <= 0:
        return None
    return paired.value / figure.value


def alone(figure: Figure) -> float:
    """Return what a row measured alone; a figure that was multiplied already has it in its notes."""
    kept = figure.notes.get("alone")
    return float(figure.value) if kept is None else float(kept)


def shown_figure(run: RunSummary, row: Row, metric: Metric | str) -> Figure | None:
    """Return the whole record of a figure with the value and bounds that are shown."""
    figure, interval = row.figure(metric), shown(run, row, metric)
    if figure is None or interval is None:
        return figure
    return replace(figure, value=interval.value, ci_low=interval.low, ci_high=interval.high)


def _of_phase(run: RunSummary, row: Row, key: str) -> Interval | None:
    """Return the cost of a phase, so that the two phases share the dollars as their times share the request.

    Each phase has the factor of its own time; both together cost what is shown for a thousand tokens of
    either kind. Returns None if a time, a token count or the cost is not known.
    """
    costs = {one: row.figure(one) for one in _PHASES}
    factors = {one: factor_of(run, row, of) for one, of in _PHASES.items()}
    output, total = (value_of(row.figure(metric)) for metric in (throughput.OUTPUT, throughput.TOTAL))
    per_1k, like = product(run, row, cost.PER_1K), product(run, row, _PHASES[key])
    if output is None or total is None or per_1k is None or like is None or not total > output > 0:
        return None
    tokens = dict(zip(_PHASES, (total - output, output), strict=True))
    own = {one: alone(figure) * (factors[one] or 0.0) for one, figure in costs.items() if figure is not None}
    paid = plain_sum(dollars * tokens[one] for one, dollars in own.items())
    if len(own) < len(_PHASES) or not all(factors.values()) or paid <= 0:
        return None
    return _in_proportion(own[key] * per_1k.value * total / paid, like, 1)


def product(run: RunSummary, row: Row, metric: Metric | str) -> Interval | None:
    """Return the baseline's figure times the ratio, or None if the two did not run in turns."""
    ratio = run.comparison(row, metric)
    if ratio is None or ratio.value is None or not in_turns(ratio):
        return None
    return Interval(ratio.value, ratio.value_low, ratio.value_high)


def _in_proportion(value: float, like: Interval, power: int) -> Interval:
    """Return a value with the relative bounds of another figure, or of its inverse."""
    low, high = (like.low, like.high) if power > 0 else (like.high, like.low)
    if not low or not high:
        return Interval(value, None, None)
    return Interval(value, value * (low / like.value) ** power, value * (high / like.value) ** power)
