"""Judge a finished run without measuring, by its own limits or against an earlier run.

This is less sensitive than a live comparison. An earlier run was measured in another session, so the
variation between sessions is added to the interval. A run on another machine is refused (IncomparableError,
exit code 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.errors import UsageError
from bench.gate.cascade_metrics import is_for
from bench.gate.figures import change_of, judge_figure, judge_interval
from bench.gate.findings import Effort, Finding, GateVerdict, block, finding
from bench.gate.limits import MOST_FINDINGS, Rule, rules
from bench.results.row import Row
from bench.results.run_comparison import RowChange, between_runs
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval


def judge_run(run: RunSummary) -> RunSummary:
    """Return ``run`` with a ``gate`` block that is made from its own comparisons and figures.

    A run that already has a verdict is returned unchanged. Raises UsageError if the run's config sets no
    limit.
    """
    if run.gate is not None:
        return run
    variants = [row for row in run.rows if not row.is_baseline]
    limits = _limits(run, len(variants))
    cells = len(limits) * len(variants)
    findings = [
        _within_run(run, rule, variant, cells)
        for variant in variants
        for rule in limits
        if _applies(rule, run.baseline_of(variant), variant)
    ]
    pairs = [max((ratio.pairs or 0 for ratio in run.ratios_of(row)), default=0) for row in variants]
    void = sum(row.void_pairs for row in variants)
    effort = Effort("run", units=sum(pairs), void_units=void, details={"run_id": run.run_id})
    return replace(run, gate=block(findings, effort))


def against_run(run: RunSummary, stored: RunSummary) -> RunSummary:
    """Return ``run`` with a ``gate`` block that compares every row with the same row of ``stored``."""
    changes = {(row.group, row.variant, row.metric): row for row in between_runs(stored, run)}
    before = {row.key: row for row in stored.rows}
    limits = _limits(run, len(run.rows))
    cells = len(limits) * len(run.rows)
    findings = [
        judged
        for variant in run.rows
        for rule in limits
        if _applies(rule, before.get(variant.key, variant), variant)
        and (judged := _between(rule, variant, changes, cells)) is not None
    ]
    effort = Effort("stored", details={"run_id": run.run_id, "base": stored.run_id})
    return replace(run, gate=block(findings, effort))


def _limits(run: RunSummary, judged: int) -> list[Rule]:
    """Return the limits of a run. Raises UsageError without limits, or with too many for ``judged`` rows."""
    limits = list(rules(run.spec.get("gate") or {}))
    if len(limits) * judged > MOST_FINDINGS:
        raise UsageError(
            f"{run.run_id}: {len(limits)} limits on {judged} rows are more than the {MOST_FINDINGS} that a "
            "gate judges"
        )
    if not limits:
        raise UsageError(f"{run.run_id}: its config sets no limit; give a gate block, see configs/ci.yaml")
    return limits


def _applies(rule: Rule, base: Row, row: Row) -> bool:
    """Return whether a rule applies to this row.

    A limit on a metric that only rows of one kind have, such as cascades, applies only if the row is of it,
    or the row that it is compared with.
    """
    return not row.ok or not base.ok or any(_may_have(rule.metric, side) for side in (base, row))


def _may_have(metric: str, row: Row) -> bool:
    steps = row.evidence.steps if row.evidence else ()
    return is_for(metric, row.optimisations, steps, row.metrics.get(metric))


def _within_run(run: RunSummary, rule: Rule, variant: Row, cells: int) -> Finding:
    """Judge a rule on a variant by its ratio to the baseline, or by the figures of both sides."""
    base = run.baseline_of(variant)
    for row in (base, variant):
        if not row.ok:
            reason = f"{row.name} was not measured: {row.status}: {row.reason}"
            return finding(rule, variant.key, GateVerdict.ERROR, reason)
    ratio = run.comparison(variant, rule.metric)
    if rule.relative and ratio is not None and ratio.ci_low is not None:
        interval = Interval(ratio.ratio, ratio.ci_low, ratio.ci_high)
        return replace(judge_interval(rule, variant.key, interval, cells), units=ratio.pairs or 0)
    sides = base.figure(rule.metric), variant.figure(rule.metric)
    return judge_figure(rule, variant.key, *sides, cells, variant.figure(change_of(rule.metric)))


def _between(
    rule: Rule, variant: Row, changes: Mapping[tuple[str, str, str], RowChange], cells: int
) -> Finding | None:
    """Judge a rule on a row by its change between two runs.

    Returns None for an absolute limit on a baseline, because such limits are on variants.
    """
    if not rule.relative:
        if variant.is_baseline:
            return None
        return judge_figure(rule, variant.key, None, variant.figure(rule.metric), cells)
    row = changes.get((*variant.key, rule.metric))
    if row is not None and row.ci_low is None and row.note:
        return finding(rule, variant.key, GateVerdict.INCONCLUSIVE, row.note)
    if row is None or row.ratio is None or row.ci_low is None:
        reason = "it was not measured in both runs, or has no interval"
        return finding(rule, variant.key, GateVerdict.ERROR, reason)
    return judge_interval(rule, variant.key, Interval(row.ratio, row.ci_low, row.ci_high), cells)
