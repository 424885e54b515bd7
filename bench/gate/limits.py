"""Read a config's limits as rules. Each rule has a metric, a direction, a bound, and a kind of judgement."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal

from bench import plugins
from bench.formatting import parse_percent
from bench.metrics import (
    all_metrics,
    cascade,
    counters,
    device,
    drift_keys,
    energy,
    expert_load,
    goodput,
    latency,
    load_blocks,
    memory,
    numerics,
    one_off,
    output_drift,
    repetition,
    reply_texts,
    requests,
    roofline,
    under_load,
)
from bench.metrics.drift_statistics import STATISTICS
from bench.metrics.unit_ratios import MEMORY, TIMED

# The most timed limits, and the most limits, times rows. A sweep of 50 rows with 10 timed limits has 500.
MOST_TIMED, MOST_FINDINGS = 1000, 5000
ROUNDING = 1e-12  # relative: a count that is exactly at its limit is within it, whatever the division gives
Kind = Literal["timed", "exact", "interval"]
Limit = Literal["max_increase", "max_decrease", "max", "min"]
# Counts that are 0 for most baselines, so that no ratio to the baseline exists.
OFTEN_NONE = frozenset(
    metric.key for metric in (
        requests.ERRORS, numerics.OTHER_RUNS, numerics.IN_BATCH, numerics.SATURATED, repetition.COLLAPSED,
    )
)  # fmt: skip
# Figures in these units are counted, so they are exact and have no interval.
COUNTED = frozenset({"B", "batches", "requests", "activations"})
# The largest or smallest value on one text has no interval. The second metric is the one to limit instead.
EXTREMES = {
    "kld_max": "kld_p99", "kld_min": "kld_p01", "delta_p_max": "rms_delta_p", "delta_p_min": "rms_delta_p",
    numerics.FURTHEST.key: numerics.SATURATED.key,
}  # fmt: skip
# Figures that are measured once, in one process, and so have no interval: energy, shares of the roofline, the
# busy time of the GPU, the load of experts, and the cost of making a variant.
MEASURED_ONCE = frozenset(
    metric.key
    for metric in (
        *energy.MEASURED, roofline.MFU, roofline.MBU, device.BUSY, device.SHARE, *expert_load.METRICS,
        one_off.USD,
    )
)  # fmt: skip
# For rows that are not servers these rates have no interval, but the share of good requests has one.
RATES_OF_GOOD = frozenset({goodput.GOODPUT.key, goodput.PER_GOOD.key})
# These are equal in every run of the same code, so any difference is real and needs no statistics.
EXACT = frozenset(metric.key for metric in (*counters.METRICS, memory.WEIGHTS, memory.KV))


@dataclass(frozen=True)
class Rule:
    """Hold one limit. ``bound`` is a share for relative limits, and in the metric's unit for the others."""

    metric: str
    limit: Limit
    bound: float

    @property
    def relative(self) -> bool:
        """Return whether the limit is on the ratio to the baseline."""
        return self.limit in ("max_increase", "max_decrease")

    @property
    def kind(self) -> Kind:
        """Return how the rule is judged.

        ``timed``: by the sequential test over units. ``exact``: by a plain comparison of counters, or of how
        many of the same requests two cascades escalated. ``interval``: by the figure's confidence interval.
        """
        if self.metric in EXACT or (self.relative and self.metric == cascade.RATE.key):
            return "exact"
        return "timed" if self.relative and self.metric in TIMED | MEMORY else "interval"

    @property
    def needs_rows(self) -> bool:
        """Return whether the rule needs figures of a whole row, because units do not have them."""
        return self.kind == "interval" or self.metric == cascade.RATE.key

    @property
    def counted(self) -> bool:
        """Return whether the figure is a count or a size, which is exact and needs no interval."""
        metric = all_metrics().get(self.metric)
        return self.kind == "exact" or (metric is not None and metric.unit in COUNTED)

    @property
    def margin(self) -> float:
        """Return the bound of a relative limit as a positive number on the log scale."""
        if self.limit == "max_increase":
            return math.log1p(self.bound)
        return -math.log1p(-self.bound) if self.bound < 1 else math.inf

    @property
    def sign(self) -> int:
        """Return +1 if the limit forbids an increase, −1 if it forbids a decrease."""
        return 1 if self.limit in ("max_increase", "max") else -1

    def __str__(self) -> str:
        bound = f"{self.bound:.4g}" if not self.relative else f"{100 * self.bound:.4g} %"
        return f"{self.metric} {self.limit} {bound}"


def rules(limits: Mapping[str, Mapping[str, Any]]) -> Iterator[Rule]:
    """Yield the rules of a config's ``gate`` block, metrics in its order."""
    for metric, block in limits.items():
        for limit in ("max_increase", "max_decrease", "max", "min"):
            value = block.get(limit)
            if value is None:
                continue
            yield Rule(metric, limit, parse_percent(value) if isinstance(value, str) else float(value))


def timed_cells(wanted: Sequence[Rule], comparisons: int) -> int:
    """Return the number of sequential tests of a gate, which share its error rates.

    There is one test for each timed limit and each of the ``comparisons`` of a row with its baseline.
    """
    return sum(rule.kind == "timed" for rule in wanted) * comparisons


@cache
def beside_baseline() -> frozenset[str]:
    """Return the metrics that a baseline does not have, so that no limit on them can be relative."""
    suites = {metric.key for suite in _suites().values() for metric in suite.METRICS}
    own = {metric.key for suite in _suites().values() for metric in getattr(suite, "OF_EVERY_ROW", ())}
    return (
        (drift_keys() | suites | {one_off.BREAK_EVEN.key, numerics.RATIO.key}) - {output_drift.PPL.key} - own
    )


@cache
def of_servers() -> frozenset[str]:
    """Return the metrics that a server under load has, including those of suites that judge replies."""
    judged = {
        metric.key
        for module in _suites().values()
        if (suite := getattr(module, "SUITE", None)) is not None and suite.output_tokens
        for metric in module.METRICS
    }
    alone = {metric.key for metric in (*under_load.METRICS, latency.ITL, goodput.FRACTION)}
    return load_blocks.COMPARED | alone | judged


@cache
def _suites() -> dict[str, ModuleType]:
    return dict(plugins.each("drift.suites"))


def never_judged(
    metric: str,
    relative: bool,
    drift: bool,
    suites: Sequence[str],
    *,
    good: bool,
    served: bool = False,
    searches: bool = False,
    asked: Collection[str] = (),
    statistics: Collection[str] = (),
) -> tuple[str, str] | None:
    """Return (reason, hint) if this run could never judge a limit on ``metric``, else None.

    ``relative`` says whether the limit is relative to the baseline. The rest describes the run: ``drift``
    whether it scores a text, ``suites`` its behaviour suites, ``good`` whether it has an ``slo``, ``served``
    whether its rows are servers, ``searches`` whether it searches for their highest rate, ``asked`` the keys
    of its ``energy`` block, and ``statistics`` its further statistics of drift.
    """
    return (
        _of_other_rows(metric, served=served, searches=searches)
        or _without_interval(metric, served=served)
        or _not_relative(metric, relative)
        or _not_asked(metric, asked, good=good)
        or _no_drift(metric, drift, suites, statistics)
    )


Why = tuple[str, str] | None  # reason and hint


def _of_other_rows(metric: str, *, served: bool, searches: bool) -> Why:
    """Say why rows of this kind do not have the figure; None if they have it."""
    if served and metric not in of_servers():
        return "it is not measured of a server", f"known: {', '.join(sorted(of_servers()))}"
    if not served and metric in {each.key for each in (*under_load.METRICS, *reply_texts.METRICS)}:
        return "only a server under load has it", "see docs/serving.md"
    if metric == under_load.CAPACITY.key and not searches:
        return "this run does not measure it", "only the workload search does"
    return None


def _without_interval(metric: str, *, served: bool) -> Why:
    """Say why the figure never has bounds, so that every verdict would be INCONCLUSIVE; None if it has."""
    if metric in EXTREMES:
        return "nothing bounds the most extreme position of a text", f"limit {EXTREMES[metric]}"
    if metric in MEASURED_ONCE or (not served and metric in RATES_OF_GOOD):
        hint = "limit good_fraction" if metric in RATES_OF_GOOD else "limit a time or cost_per_request_usd"
        return "it is measured once and has no interval, so a change cannot be told from chance", hint
    return None


def _not_relative(metric: str, relative: bool) -> Why:
    """Say why no limit on the figure can be relative to the baseline; None if one can."""
    if relative and metric in OFTEN_NONE:
        return "it is 0 for most baselines, and there is no ratio to 0", "use max"
    if relative and metric in beside_baseline():
        return "the baseline has no such figure, so no limit can be relative to it", "use max or min"
    return None


def _not_asked(metric: str, asked: Collection[str], *, good: bool) -> Why:
    """Say which block the config needs for the figure; None if it has it."""
    if metric in energy.NEEDS and energy.NEEDS[metric] not in asked:
        return "this run does not compute it", f"give energy: {{{energy.NEEDS[metric]}: ...}}"
    if metric in {each.key for each in goodput.METRICS} and not good:
        return "this run does not measure it", "say what a good request is, such as slo: {ttft_ms: 500}"
    return None


def _no_drift(metric: str, drift: bool, suites: Sequence[str], statistics: Collection[str]) -> Why:
    """Say why the run does not measure this figure of drift or behaviour; None if it does."""
    if metric in drift_keys() and not drift:
        return "this run does not measure it", "drift.tokens is 0, or all weights are random"
    for name, statistic in STATISTICS.items():
        if metric == statistic.METRIC.key and name not in statistics:
            return "this run does not measure it", f"drift.statistics has no {name}"
    for name, suite in _suites().items():
        if metric in {each.key for each in suite.METRICS} and name not in suites:
            return "this run does not measure it", f"drift.suites has no {name}"
    return None
