"""Compare variants with their baseline: ratios (variant ÷ baseline) with 95 % intervals and a verdict.

The verdicts on a timed figure keep an error rate for the whole table (see ``compare_all``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace

from bench.metrics import answers, cost, goodput, latency, throughput, under_load
from bench.metrics.ratios import SERVED, Ratio, ratios_of
from bench.records import ArmRecord, RunRecord
from bench.stats.figure import Figure, Figures
from bench.stats.holm import told_apart
from bench.stats.intervals import Interval
from bench.stats.ratio_verdict import RatioDesign, Verdict, verdict_of


@dataclass(frozen=True)
class Comparison:
    """Hold a ratio variant ÷ baseline with its verdict, as in ``comparisons`` of ``run.json``.

    ``design`` says what the ratio was computed from, ``pairs`` how many pairs of fresh processes there were,
    and ``pair_sd`` is the standard deviation of their log ratios (None for a single pair). ``value`` is the
    ratio times the baseline's own figure, which was measured alone. ``p`` is the probability of a ratio at
    least as far from 1 if nothing differs, of this row alone: before Holm's rule over the table.
    """

    variant: str
    against: str
    group: str
    metric: str
    ratio: float
    ci_low: float | None
    ci_high: float | None
    confidence: float
    verdict: Verdict
    design: RatioDesign
    pairs: int | None = None
    pair_sd: float | None = None
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    p: float | None = None


def compare_all(run: RunRecord) -> list[Comparison]:
    """Return every ratio of every variant, row by row.

    For each timed metric, all rows of the run share one error rate (``stats.holm.told_apart``). So a table
    of forty rows is no more likely to call a row ``better`` or ``worse`` by mistake than a table of one row.
    """
    ratios = [(arm, ratio) for arm in run.arms for ratio in ratios_of(run, arm)]
    apart: dict[tuple[str, str, str], bool] = {}
    for metric in (*SERVED, throughput.TOTAL, answers.PER_ANSWER):
        tested = {
            (arm.group, arm.name, metric.key): ratio.p
            for arm, ratio in ratios
            if ratio.metric is metric and ratio.p is not None
        }
        apart |= dict(zip(tested, told_apart(list(tested.values())), strict=True))
    bases = {base.group: (base.name, _alone(base, run)) for base in run.arms if base.is_baseline}
    return [_comparison(arm, ratio, apart, *bases[arm.group]) for arm, ratio in ratios]


def _alone(base: ArmRecord, run: RunRecord) -> Figures:
    """Return the baseline's own figures, as measured alone."""
    families = (latency, throughput, cost, answers, goodput, under_load)
    return {key: figure for family in families for key, figure in family.figures(base, run).items()}


def compare(run: RunRecord, variant: ArmRecord) -> list[Comparison]:
    """Return every ratio of one variant; its verdicts share their error rate with all rows of the run."""
    key = variant.group, variant.name
    return [ratio for ratio in compare_all(run) if (ratio.group, ratio.variant) == key]


def _comparison(
    variant: ArmRecord,
    ratio: Ratio,
    apart: Mapping[tuple[str, str, str], bool],
    base: str,
    alone: Figures,
) -> Comparison:
    interval, key = ratio.interval, ratio.metric.key
    verdict = verdict_of(interval)
    if ratio.p is not None:
        better = (interval.value < 1) == (ratio.metric.better == "lower")
        side = Verdict.BETTER if better else Verdict.WORSE
        verdict = side if apart[variant.group, variant.name, key] else Verdict.CANNOT_TELL
        if verdict == Verdict.BETTER and ratio.fails_more:
            verdict = Verdict.CANNOT_TELL
    value = times(alone.get(key), interval)
    found = Comparison(
        variant.name, base, variant.group, key, interval.value, interval.low, interval.high, 0.95,
        verdict, ratio.design, ratio.pairs, ratio.pair_sd,
        *(astuple(value) if value else ()),
    )  # fmt: skip
    return replace(found, p=ratio.p)


def times(figure: Figure | None, ratio: Interval) -> Interval | None:
    """Multiply a figure by a ratio, and add their half-widths on the log scale in quadrature.

    The result is None without a figure, and has no bounds if either of the two has none.
    """
    if figure is None:
        return None
    sides = ((figure.ci_low, ratio.low), (figure.ci_high, ratio.high))
    halves = [
        math.hypot(math.log(bound / figure.value), math.log(other / ratio.value))
        for bound, other in sides
        if bound and other and bound > 0
    ]
    middle = figure.value * ratio.value
    if len(halves) < len(sides):
        return Interval(middle, None, None)
    return Interval(middle, middle * math.exp(-halves[0]), middle * math.exp(halves[1]))
