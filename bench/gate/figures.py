"""Figures of a whole run against the limit: by their own interval, counters by the plain number."""

from __future__ import annotations

import math
from statistics import NormalDist

from bench.gate.finding import ERROR, FAIL, INCONCLUSIVE, PASS, Finding, finding
from bench.gate.limits import Rule
from bench.metrics.changes import ratio_bounds
from bench.metrics.figure import value_of
from bench.records import Json

_Z = NormalDist().inv_cdf


def judge_figure(
    rule: Rule, group: str, variant: str, base: Json | None, figure: Json | None, cells: int = 1
) -> Finding:
    """A figure, or its ratio to the baseline's, against the bound."""
    number, reference = value_of(figure), value_of(base)
    if number is None or figure is None or (rule.relative and not reference):
        return finding(rule, group, variant, ERROR, "it was not measured in this run")
    if not rule.relative:
        return judge_interval(
            rule, group, variant, number, figure.get("ci_low"), figure.get("ci_high"), cells
        )
    assert reference
    low, high = (None, None) if rule.kind == "exact" else ratio_bounds(base, figure)
    return judge_interval(rule, group, variant, number / reference, low, high, cells)


def judge_interval(
    rule: Rule,
    group: str,
    variant: str,
    number: float,
    low: float | None,
    high: float | None,
    cells: int = 1,
) -> Finding:
    """Within the limit, or beyond it, only when the whole interval is; without one it counts as exact.

    ``low`` and ``high`` bound it at 95 %; where ``cells`` rules share that error the interval is widened to
    ``1 − 5 %/cells`` as a normal one would be (Bonferroni).
    """
    bound = math.exp(rule.sign * rule.margin) if rule.relative else rule.bound
    wider = _Z(1 - 0.025 / max(cells, 1)) / _Z(0.975)
    low = number if low is None else number - wider * (number - low)
    high = number if high is None else number + wider * (high - number)
    over, under = (low > bound, high <= bound) if rule.sign > 0 else (high < bound, low >= bound)
    confidence = 1.0 if low == high else 1 - 0.05 / max(cells, 1)
    shown = {"value": number, "low": low, "high": high, "confidence": confidence}
    if over:
        return finding(rule, group, variant, FAIL, "beyond the limit", **shown)
    if under:
        return finding(rule, group, variant, PASS, "within the limit", **shown)
    return finding(rule, group, variant, INCONCLUSIVE, "its interval holds the limit: measure more", **shown)
