"""Judge a figure of a whole run against its limit: by its interval, or directly if it is a count."""

from __future__ import annotations

import math
import re
from statistics import NormalDist
from typing import get_args

from bench.gate.findings import Finding, GateVerdict, finding
from bench.gate.limits import ROUNDING, Limit, Rule
from bench.stats.figure import Figure, ratio_bounds
from bench.stats.intervals import Interval

_Z = NormalDist().inv_cdf
Key = tuple[str, str]  # a row's group and name
# Parses what ``str(Rule)`` writes, where the bound is rounded to four digits.
_RULE = re.compile(rf"(\S+) ({'|'.join(get_args(Limit))}) (-?[0-9.]+(?:e[+-]?[0-9]+)?)( %)?")
_ROUNDED = 1e-3  # the relative error that this rounding may add
NOTHING_RELATIVE = "the baseline's figure is 0, so there is no ratio to it: limit it by max or min"
NO_INTERVAL = (
    "it has no interval, so a change cannot be told from chance: "
    "an interval needs at least five windows, replies or pairs"
)


def judge_figure(
    rule: Rule,
    key: Key,
    base: Figure | None,
    figure: Figure | None,
    cells: int = 1,
    change: Figure | None = None,
    spread: float = 0.0,
) -> Finding:
    """Judge a figure, or its ratio to the baseline's figure, against the bound of a rule.

    ``cells`` is the number of rules that share the error rate (see ``judge_interval``). ``change`` is the
    paired difference of the two figures, if there is one (``change_of``). ``spread`` is added to the interval
    of a ratio (see ``ratio_bounds``). A figure that was not measured, or a ratio to a baseline of 0, gives
    ERROR.
    """
    if figure is None or (rule.relative and base is None):
        return finding(rule, key, GateVerdict.ERROR, "it was not measured in this run")
    if rule.relative and base is not None and not base.value:
        if rule.kind == "exact" and not figure.value:
            return judge_interval(rule, key, Interval(1.0, None, None), cells)  # both are 0: no change
        return finding(rule, key, GateVerdict.ERROR, NOTHING_RELATIVE)
    if not rule.relative or base is None:
        return judge_interval(rule, key, figure.interval, cells)
    if rule.kind == "exact":
        return judge_interval(rule, key, Interval(figure.value / base.value, None, None), cells)
    return judge_interval(rule, key, _ratio(base, figure, change, spread), cells)


def change_of(metric: str) -> str:
    """Return the name of the paired difference of an accuracy from the baseline's; "" for other figures."""
    return f"{metric.removesuffix('_accuracy')}_change" if metric.endswith("_accuracy") else ""


def _ratio(base: Figure, figure: Figure, change: Figure | None, spread: float) -> Interval:
    """Return figure ÷ base. Two rows that answered the same items are not independent: their ratio is
    1 + change ÷ base, with the paired interval of the change. It is about the items that both answered, as
    the figures of both rows may not be."""
    if change is None or change.ci_low is None or change.ci_high is None:
        return Interval(figure.value / base.value, *ratio_bounds(base, figure, spread))
    return Interval(*(1 + end / base.value for end in (change.value, change.ci_low, change.ci_high)))


def judge_interval(rule: Rule, key: Key, interval: Interval, cells: int = 1) -> Finding:
    """Decide PASS or FAIL only if the whole interval lies on one side of the limit.

    A count is exact and needs no interval. Any other number needs one, because without it nobody knows
    whether a second run would give the same result; a missing bound counts as infinite. The bounds are 95 %
    bounds. If ``cells`` rules share the error of 5 %, the interval is widened to ``1 − 5 %/cells``, as if it
    were that of a normal distribution (Bonferroni).
    """
    number = interval.value
    bound = math.exp(rule.sign * rule.margin) if rule.relative else rule.bound
    if rule.relative and rule.counted:
        bound *= 1 + rule.sign * ROUNDING
    bounds = (number, number) if rule.counted else (interval.low, interval.high)
    if bounds == (None, None):
        return finding(rule, key, GateVerdict.INCONCLUSIVE, NO_INTERVAL, value=number)
    wider = _Z(1 - 0.025 / max(cells, 1)) / _Z(0.975)
    low, high = (
        infinite if end is None else number + wider * (end - number)
        for end, infinite in zip(bounds, (-math.inf, math.inf), strict=True)
    )
    if low <= 0 and interval.low is not None and 0 < interval.low < number:
        low = number * (interval.low / number) ** wider  # such as a time: widen on the log scale, above 0
    beyond, within = (low > bound, high <= bound) if rule.sign > 0 else (high < bound, low >= bound)
    confidence = 1.0 if low == high else 1 - 0.05 / max(cells, 1)
    finite = {name: end for name, end in (("low", low), ("high", high)) if math.isfinite(end)}
    shown = {"value": number, **finite, "confidence": confidence}
    if beyond:
        return finding(rule, key, GateVerdict.FAIL, "beyond the limit", **shown)
    if within:
        return finding(rule, key, GateVerdict.PASS, "within the limit", **shown)
    reason = "the limit is inside its interval: measure more"
    return finding(rule, key, GateVerdict.INCONCLUSIVE, reason, **shown)


def contradicts(stored: Finding) -> bool:
    """Return whether a stored PASS or FAIL cannot follow from the figures that are stored with it.

    PASS needs an interval that reaches the good side of the limit, and FAIL one that reaches the bad side.
    For a timed rule FAIL proves an increase, not that the limit is exceeded, so the bad side begins at a
    ratio of 1. A rule that another version wrote, and that cannot be parsed here, contradicts nothing.
    """
    if stored.verdict not in (GateVerdict.PASS, GateVerdict.FAIL):
        return False
    if stored.value is None:
        return True
    parts = _RULE.fullmatch(stored.rule)
    if parts is None:
        return False
    metric, limit, number, percent = parts.groups()
    rule = Rule(metric, _limit(limit), float(number) / (100 if percent else 1))
    bound = math.exp(rule.sign * rule.margin) if rule.relative else rule.bound
    if stored.verdict == GateVerdict.FAIL and stored.kind == "timed":
        bound = 1.0
    low, high = (stored.value if end is None else end for end in (stored.low, stored.high))
    best, worst = (low, high) if rule.sign > 0 else (high, low)
    slack = _ROUNDED * abs(bound)
    beyond = best if stored.verdict == GateVerdict.PASS else worst
    excess = rule.sign * (beyond - bound)
    return excess > slack if stored.verdict == GateVerdict.PASS else excess < -slack


def _limit(word: str) -> Limit:
    return next(limit for limit in get_args(Limit) if limit == word)
