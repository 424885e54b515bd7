"""Put a gate's rules, figures and verdicts into words without markup, for all report formats.

All formats take their words from here, so that a rule has the same figure and the same reason in each of
them. What the gate compared is in ``gate_sides.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bench.formatting import count, format_bound, format_one_bound
from bench.gate.findings import NO_BASE, Finding, GateBlock, GateVerdict
from bench.metrics import all_metrics
from bench.metrics.comparisons import Comparison
from bench.metrics.unit_ratios import TIMED
from bench.report.gate_sides import compared, few
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.stats.ratio_verdict import RatioDesign

SAYS_NOTHING = 2.0  # a bound that is farther than this factor from the ratio is not shown
NOT_MEASURED = (GateVerdict.UNREACHED, GateVerdict.IDENTICAL)
HOLDS = (GateVerdict.PASS, GateVerdict.IDENTICAL)
TONES = {  # named like the verdicts of rows, so that both have the same colours
    **dict.fromkeys(HOLDS, "better"),
    **dict.fromkeys((GateVerdict.FAIL, GateVerdict.ERROR, GateVerdict.SUSPECT), "worse"),
    **dict.fromkeys(
        (GateVerdict.BROKEN_BASE, GateVerdict.INCONCLUSIVE, GateVerdict.UNREACHED), "cannot-tell"
    ),
}
_ADVICE = {
    GateVerdict.BROKEN_BASE: (
        "If this change repairs the base, look at its cost yourself and merge it: its limits hold from the "
        "next commit on. A CI job may let exit code 9 pass."
    ),
    GateVerdict.UNREACHED: (
        "The change was not measured: measure something that it reaches, or accept that with "
        "--allow-identical."
    ),
}


def advice(*rules: Finding) -> str:
    """Return what to do about findings that have the same verdict; empty if there is no advice.

    A finding whose base has no such config needs none: its reason already says what to do.
    """
    known = (_ADVICE.get(rule.verdict, "") for rule in rules if not rule.reason.startswith(NO_BASE))
    return next(filter(None, known), "")


def advice_on(gate: GateBlock) -> str:
    """Return what to do about a gate's verdict; empty if there is no advice."""
    return advice(*(rule for rule in gate.rules if rule.verdict == gate.verdict))


def relative(rule: Finding) -> bool:
    """Return whether the rule's figure is a ratio to the base, not a value in the metric's unit."""
    return any(f" {limit} " in rule.rule for limit in ("max_increase", "max_decrease"))


def unit_of(rule: Finding) -> str:
    """Return the unit of the rule's figure; ``ratio`` for a figure relative to the base."""
    metric = all_metrics().get(rule.metric)
    return "ratio" if relative(rule) else metric.unit if metric else ""


def bounds(rule: Finding) -> tuple[float | None, float | None]:
    """Return the bounds of a rule's figure, with None for a bound that is missing or tells nothing.

    The bounds of a plain interval are always returned. A timed rule has a confidence sequence, whose bounds
    are the ends of the searched range (a factor of 400 on either side) while it has too few units. So a bound
    of a timed rule is returned only if it is within a factor of two (``SAYS_NOTHING``) of the ratio, or if it
    shows a difference: a lower bound above 1, or an upper bound below 1.

    The mean of a few units may lie outside of a confidence sequence, which hardly looks at an outlier. Then
    the bound is moved to the figure: a wider interval is as true, and no bound contradicts its figure.
    """
    if rule.value is None or rule.confidence in (None, 1.0):
        return None, None
    low = None if rule.low is None else min(rule.low, rule.value)
    high = None if rule.high is None else max(rule.high, rule.value)
    if rule.kind != "timed" or rule.value <= 0:
        return low, high
    if low is not None and not (low > 1 or low * SAYS_NOTHING >= rule.value):
        low = None
    if high is not None and not (high < 1 or high <= rule.value * SAYS_NOTHING):
        high = None
    return low, high


def measured(rule: Finding) -> str:
    """Return a rule's figure with its interval, such as ``1.003 [0.991, 1.015] at 99 %``.

    With only one bound the text is ``1.003, < 1.015 at 99 %``. A missing figure is a dash.
    """
    if rule.value is None:
        return "-"
    unit = unit_of(rule)
    figure = f"{rule.value:.4g}"
    if unit not in ("", "ratio", "1"):
        figure += f" {unit}"
    if rule.confidence is None or rule.confidence == 1.0:
        return figure
    (low, high), at = bounds(rule), f"at {100 * rule.confidence:.4g} %"
    if low is not None and high is not None:
        return f"{figure} [{format_bound(low, upper=False)}, {format_bound(high, upper=True)}] {at}"
    if low is not None:
        return f"{figure}, {format_one_bound(rule.value, low, upper=False)} {at}"
    if high is not None:
        return f"{figure}, {format_one_bound(rule.value, high, upper=True)} {at}"
    return f"{figure}, too few units for an interval"


# ---- rules and rows ------------------------------------------------------------------------------


def worst_first(rules: Iterable[Finding]) -> list[Finding]:
    """Sort findings by verdict, the worst first; findings with the same verdict keep their order."""
    order = list(GateVerdict)
    return sorted(rules, key=lambda rule: order.index(rule.verdict))


def findings_of(run: RunSummary, row: Row) -> list[Finding]:
    """Return the gate's findings about a row, one per rule; empty for a run without a gate."""
    return run.findings.get(row.key, [])


def verdict_on(run: RunSummary, row: Row) -> GateVerdict | None:
    """Return the gate's verdict on a row, which is the worst of its rules, or None if no rule judged it."""
    findings = worst_first(findings_of(run, row))
    return findings[0].verdict if findings else None


def about_row(run: RunSummary, row: Row) -> str:
    """Describe the worst of the gate's findings about a row; empty if no rule judged the row."""
    findings = worst_first(findings_of(run, row))
    if not findings:
        return ""
    rule = findings[0]
    figure = rule.reason if rule.value is None else measured(rule)
    return f"the gate says {rule.verdict}: {rule.rule}: {figure}"


def in_words(rule: Finding) -> str:
    """Return a rule with its verdict, figure and reason on one line."""
    return f"{rule.verdict:12} {rule.title}: {rule.rule}: {measured(rule)} ({rule.reason})"


def summary(gate: GateBlock) -> str:
    """Count the rules by verdict in one line, and describe the worst rule unless all of them hold."""
    rules = worst_first(gate.rules)
    if not rules:
        return "no rule was judged"
    parts = [f"{number} {verdict}" for verdict, number in Counter(rule.verdict for rule in rules).items()]
    said = f"{count(len(rules), 'rule')}: {', '.join(parts)}"
    worst = rules[0]
    if worst.verdict in HOLDS:
        return said
    return f"{said}. {worst.title}: {worst.rule}: {measured(worst)} ({worst.reason})"


def without_replaced(run: RunSummary) -> RunSummary:
    """Return a gate's run without the ratios that the gate measured better; any other run is unchanged.

    A gate measures its units in turns. The run also has ratios from a few requests of each side alone, one
    side after the other. They are less precise and could contradict the gate's ratio of the same figure. If
    the gate found nothing to measure, both sides do the same work, and such a ratio shows only noise.
    """
    if run.gate is None or run.gate.effort.mode in ("run", "stored"):  # these judge the run's own ratios
        return run
    rules = run.gate.rules
    timed = {(r.group, r.variant) for r in rules if r.kind == "timed" or r.verdict in NOT_MEASURED}
    judged = {(rule.group, rule.variant, rule.metric) for rule in rules if rule.value is not None}

    def replaced(ratio: Comparison) -> bool:
        row = (ratio.group, ratio.variant)
        return (row in timed and ratio.metric in TIMED) or (*row, ratio.metric) in judged

    kept = (each for each in run.comparisons if each.design != RatioDesign.SOLO or not replaced(each))
    return replace(run, comparisons=tuple(kept))


# ---- flat rows -----------------------------------------------------------------------------------


def flat_gate(gate: GateBlock) -> dict[str, Any]:
    """Return the flat keys that are the same for all rows of a gate's run: verdict, sides and differences."""
    about = compared(gate.effort)
    return {
        "gate_verdict": str(gate.verdict),
        "gate_exit_code": int(gate.exit_code),
        "gate_mode": gate.effort.mode,
        "gate_base": about.base,
        "gate_base_commit": about.base_commit or None,
        "gate_candidate": about.candidate,
        "gate_candidate_commit": about.candidate_commit or None,
        "gate_config_differs": "; ".join(about.config) if about.of_commits else None,
        "gate_packages_differ": "; ".join(about.packages) if about.of_commits else None,
        "gate_files_differ": about.all_files if about.of_commits else None,
        "gate_first_files": few(about.files, about.more_files) if about.of_commits else None,
        "gate_not_compared": "; ".join(about.alone) if about.of_commits else None,
    }


def flat_rules(rules: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings about one row as flat keys, ``gate_<metric>_ratio`` or ``gate_<metric>_value``.

    If two rules judge the same metric, the keys that they share have the values of the worse rule.
    """
    flat: dict[str, Any] = {key: None for rule in rules for key in _flat_rule(rule)}  # keeps the rules' order
    for rule in reversed(worst_first(rules)):  # the worst rule is last, so that it overwrites the others
        flat |= _flat_rule(rule)
    return flat


def _flat_rule(rule: Finding) -> dict[str, Any]:
    key = f"gate_{rule.metric}"
    figure = f"{key}_{'ratio' if relative(rule) else 'value'}"
    low, high = bounds(rule)
    return {
        figure: rule.value,
        f"{figure}_low": low,
        f"{figure}_high": high,
        f"{figure}_confidence": rule.confidence,
        f"{key}_verdict": str(rule.verdict),
        f"{key}_rule": rule.rule,
        f"{key}_reason": rule.reason,
        f"{key}_units": rule.units,
    }
