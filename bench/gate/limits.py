"""Read a config's limits as rules: each has a figure, a direction, a bound, and a way to be judged."""

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

# Limits times rows; a sweep of 50 rows with 10 limits on times has 500.
MOST_TIMED, MOST_FINDINGS = 1000, 5000
Kind = Literal["timed", "exact", "interval"]
Limit = Literal["max_increase", "max_decrease", "max", "min"]
# Counts that are 0 for most baselines.
OFTEN_NONE = frozenset(
    metric.key for metric in (
        requests.ERRORS, numerics.OTHER_RUNS, numerics.IN_BATCH, numerics.SATURATED, repetition.COLLAPSED,
    )
)  # fmt: skip
# A number in these units is counted, and is what it is without an interval.
COUNTED = frozenset({"B", "batches", "requests", "activations"})
# The largest or smallest value on one text: another text has another, and no interval bounds it.
EXTREMES = {
    "kld_max": "kld_p99", "kld_min": "kld_p01", "delta_p_max": "rms_delta_p", "delta_p_min": "rms_delta_p",
    numerics.FURTHEST.key: numerics.SATURATED.key,
}  # fmt: skip
# Figures of one process and one window, which nothing bounds: joules that a counter counts, shares of a
# ceiling, the time of the GPU, the load of experts, and the bill of making a variant.
MEASURED_ONCE = frozenset(
    metric.key
    for metric in (
        *energy.MEASURED, roofline.MFU, roofline.MBU, device.BUSY, device.SHARE, *expert_load.METRICS,
        one_off.USD,
    )
)  # fmt: skip
# Of rows that are no servers: the share of good requests has an interval, these have none.
RATES_OF_GOOD = frozenset({goodput.GOODPUT.key, goodput.PER_GOOD.key})
# These are equal in every run of the same code, so any difference is real and decides at once.
EXACT = frozenset(metric.key for metric in (*counters.METRICS, memory.WEIGHTS, memory.KV))


@dataclass(frozen=True)
class Rule:
    """One limit. ``bound`` is a share for the relative limits, and in the metric's unit for the others."""

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
        many of the same requests two cascades sent on. ``interval``: by the figure's own confidence interval.
        """
        if self.metric in EXACT or (self.relative and self.metric == cascade.RATE.key):
            return "exact"
        return "timed" if self.relative and self.metric in TIMED | MEMORY else "interval"

    @property
    def needs_rows(self) -> bool:
        """Return whether the rule is judged by figures of a whole row, which units do not have."""
        return self.kind == "interval" or self.metric == cascade.RATE.key

    @property
    def counted(self) -> bool:
        """Return whether the figure is a count or a size: exact by nature, so that it needs no interval."""
        metric = all_metrics().get(self.metric)
        return self.kind == "exact" or (metric is not None and metric.unit in COUNTED)

    @property
    def margin(self) -> float:
        """Return the bound of a relative limit on the log scale, as a positive number."""
        if self.limit == "max_increase":
            return math.log1p(self.bound)
        return -math.log1p(-self.bound) if self.bound < 1 else math.inf

    @property
    def sign(self) -> int:
        """Return +1 if growing is bad, −1 if shrinking is."""
        return 1 if self.limit in ("max_increase", "max") else -1

    def __str__(self) -> str:
        bound = f"{self.bound:.4g}" if not self.relative else f"{100 * self.bound:.4g} %"
        return f"{self.metric} {self.limit} {bound}"


def rules(limits: Mapping[str, Mapping[str, Any]]) -> Iterator[Rule]:
    """Yield the rules of a ``gate`` block in its order."""
    for metric, block in limits.items():
        for limit in ("max_increase", "max_decrease", "max", "min"):
            value = block.get(limit)
            if value is None:
                continue
            yield Rule(metric, limit, parse_percent(value) if isinstance(value, str) else float(value))


def timed_cells(wanted: Sequence[Rule], comparisons: int) -> int:
    """Return how many sequential tests a gate makes, which share its error rates.

    There is one for each limit on a time and each of the ``comparisons``, the rows with a baseline.
    """
    return sum(rule.kind == "timed" for rule in wanted) * comparisons


@cache
def beside_baseline() -> frozenset[str]:
    """Return the metrics that only a variant has, beside its baseline: no limit can be relative to them."""
    suites = {metric.key for suite in _suites().values() for metric in suite.METRICS}
    own = {metric.key for suite in _suites().values() for metric in getattr(suite, "OF_EVERY_ROW", ())}
    return (
        (drift_keys() | suites | {one_off.BREAK_EVEN.key, numerics.RATIO.key}) - {output_drift.PPL.key} - own
    )


@cache
def of_servers() -> frozenset[str]:
    """Return the metrics that a server under load has, those of suites that are judged by replies too."""
    judged = {
        metric.key
        for suite in _suites().values()
        if (one := getattr(suite, "SUITE", None)) is not None and one.output_tokens
        for metric in suite.METRICS
    }
    alone = {one.key for one in (*under_load.METRICS, latency.ITL, goodput.FRACTION)}
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
    """Return (reason, hint) if a limit could not be judged in this run, else None.

    ``drift`` says whether the run scores a text, ``suites`` which comparisons of replies it makes, ``good``
    whether it says what a good request is, ``served`` whether its rows are servers, ``searches`` whether they
    are searched for the highest rate. ``asked`` are the keys that are given in the config's ``energy`` block,
    ``statistics`` the further statistics of drift that it names.
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
    """Say that rows of this kind do not have the figure."""
    if served and metric not in of_servers():
        return "it is not measured of a server", f"known: {', '.join(sorted(of_servers()))}"
    if not served and metric in {one.key for one in (*under_load.METRICS, *reply_texts.METRICS)}:
        return "only a server under load has it", "see docs/serving.md"
    if metric == under_load.CAPACITY.key and not searches:
        return "this run does not measure it", "only the workload search does"
    return None


def _without_interval(metric: str, *, served: bool) -> Why:
    """Say that the figure never has bounds: every verdict would be INCONCLUSIVE."""
    if metric in EXTREMES:
        return "nothing bounds the most extreme position of a text", f"limit {EXTREMES[metric]}"
    if metric in MEASURED_ONCE or (not served and metric in RATES_OF_GOOD):
        hint = "limit good_fraction" if metric in RATES_OF_GOOD else "limit a time or cost_per_request_usd"
        return "it is measured once and has no interval, so a change cannot be told from chance", hint
    return None


def _not_relative(metric: str, relative: bool) -> Why:
    """Say that the baseline has nothing to which a limit could be relative."""
    if relative and metric in OFTEN_NONE:
        return "a baseline that has none has nothing that it could be relative to", "use max"
    if relative and metric in beside_baseline():
        return "the baseline has no such figure that a variant's could be relative to", "use max or min"
    return None


def _not_asked(metric: str, asked: Collection[str], *, good: bool) -> Why:
    """Say which block of the config is missing."""
    if metric in energy.NEEDS and energy.NEEDS[metric] not in asked:
        return "this run does not make it", f"give energy: {{{energy.NEEDS[metric]}: ...}}"
    if metric in {one.key for one in goodput.METRICS} and not good:
        return "this run does not measure it", "say what a good request is, such as slo: {ttft_ms: 500}"
    return None


def _no_drift(metric: str, drift: bool, suites: Sequence[str], statistics: Collection[str]) -> Why:
    """Say that the run does not measure this part of drift."""
    if metric in drift_keys() and not drift:
        return "this run does not measure it", "drift.tokens is 0, or all weights are random"
    for name, statistic in STATISTICS.items():
        if metric == statistic.METRIC.key and name not in statistics:
            return "this run does not measure it", f"drift.statistics has no {name}"
    for name, suite in _suites().items():
        if metric in {one.key for one in suite.METRICS} and name not in suites:
            return "this run does not measure it", f"drift.suites has no {name}"
    return None
