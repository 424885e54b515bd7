"""Judge a finished run without measuring, by its own limits or against an earlier run.

This is less sensitive than a live comparison. An earlier run was measured in another session, so the
variation between sessions is added to the interval. A run on another machine is refused (IncomparableError,
exit code 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench import plugins
from bench.errors import UsageError
from bench.gate.cascade_metrics import is_for
from bench.gate.contradicted_drift import suspected
from bench.gate.cut_short import of_cut_short
from bench.gate.figures import change_of, judge_figure, judge_interval
from bench.gate.findings import Effort, Finding, GateVerdict, block, finding
from bench.gate.limits import MOST_FINDINGS, Rule, rules
from bench.metrics import all_metrics, drift_keys
from bench.results.changes import ALONE_APART_SD
from bench.results.disturbance import alone_notes
from bench.results.row import Row
from bench.results.run_comparison import RowChange, between_runs
from bench.results.run_summary import RunSummary
from bench.results.summarise import NOT_FINISHED
from bench.stats.figure import Figures
from bench.stats.intervals import NORMAL_95, Interval
from bench.store.packages import other_plugins

RowKey = tuple[str, str]  # a row's group and name
FiguresOfRows = Mapping[RowKey, Figures]
NOT_IN_BOTH = "it was not measured in both runs"
OTHER_ITEMS = "the two runs did not answer the same items, so their answers cannot be compared"
GONE = "this run has no such row, so it was not measured"


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
    findings = _of_cut_short(run, limits[0])
    findings += [
        _explained(run, rule, _within_run(run, rule, variant, cells))
        for variant in variants
        for rule in limits
        if _applies(rule, run.baseline_of(variant), variant)
    ]
    pairs = [max((ratio.pairs or 0 for ratio in run.ratios_of(row)), default=0) for row in variants]
    void = sum(row.void_pairs for row in variants)
    effort = Effort("run", units=sum(pairs), void_units=void, details={"run_id": run.run_id})
    return _judged(run, findings, effort)


def against_run(
    run: RunSummary, stored: RunSummary, suites: FiguresOfRows | None = None, *, chosen: bool = False
) -> RunSummary:
    """Return ``run`` with a ``gate`` block that compares every row with the same row of ``stored``.

    ``suites`` has the figures of the suites between the two runs (``suites_between``). A row that only
    ``stored`` has was not measured, unless the user has ``chosen`` the rows.
    """
    changes = {(row.group, row.variant, row.metric): row for row in between_runs(stored, run)}
    before, after = ({row.key: row for row in side.rows} for side in (stored, run))
    limits = _limits(run, len(run.rows))
    judging = _Between(run, stored, before, changes, suites or {}, len(limits) * len(run.rows))
    gone = () if chosen else (key for key in before if key not in after)
    findings = _of_cut_short(run, limits[0])
    findings += [finding(limits[0], key, GateVerdict.UNREACHED, GONE) for key in gone]
    findings += [
        _explained(run, rule, judged)
        for variant in run.rows
        for rule in limits
        if _applies(rule, before.get(variant.key, variant), variant)
        and (judged := judging.finding(rule, variant)) is not None
    ]
    effort = Effort("stored", details={"run_id": run.run_id, "base": stored.run_id})
    return _judged(run, findings, effort)


def _judged(run: RunSummary, findings: Sequence[Finding], effort: Effort) -> RunSummary:
    figures = {row.key: dict(row.figures()) for row in run.rows}
    return replace(run, gate=block([*suspected(findings, figures)], effort))


def _of_cut_short(run: RunSummary, rule: Rule) -> list[Finding]:
    """Return the finding about a run that was not finished; none if it was."""
    return [of_cut_short(rule, GateVerdict.ERROR, NOT_FINISHED)] if run.finished_utc is None else []


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


def _explained(run: RunSummary, rule: Rule, judged: Finding) -> Finding:
    """Say of a limit that cannot be judged that the package is not here which added its metric."""
    if judged.verdict != GateVerdict.ERROR or rule.metric in all_metrics():
        return judged
    return replace(judged, reason=f"no metric is called {rule.metric} here{other_plugins(run.machine)}")


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


@dataclass(frozen=True)
class _Between:
    """Judge rules on rows by their changes between two runs. ``before`` has the rows of ``stored``, and
    ``cells`` is the number of rules that share the error rate."""

    run: RunSummary
    stored: RunSummary
    before: Mapping[RowKey, Row]
    changes: Mapping[tuple[str, str, str], RowChange]
    suites: FiguresOfRows
    cells: int

    def finding(self, rule: Rule, variant: Row) -> Finding | None:
        """Judge a rule on a row.

        Returns None for an absolute limit on a baseline, because such limits are on variants.
        """
        if not rule.relative:
            if variant.is_baseline:
                return None
            return judge_figure(rule, variant.key, None, variant.figure(rule.metric), self.cells)
        base = self.before.get(variant.key)
        if (why := _why_unmeasured(base, variant)) or base is None:
            return finding(rule, variant.key, GateVerdict.ERROR, why)
        row = self.changes.get((*variant.key, rule.metric))
        if row is None:
            return self._by_figures(rule, base, variant)
        if row.ci_low is None and row.note:
            return finding(rule, variant.key, GateVerdict.INCONCLUSIVE, row.note)
        if row.ratio is None:
            return finding(rule, variant.key, GateVerdict.ERROR, NOT_IN_BOTH)
        return judge_interval(rule, variant.key, Interval(row.ratio, row.ci_low, row.ci_high), self.cells)

    def _by_figures(self, rule: Rule, base: Row, variant: Row) -> Finding:
        """Judge a rule on a figure that `between_runs` does not list, by the figures of both rows."""
        sides = base.figure(rule.metric), variant.figure(rule.metric)
        if None in sides:
            return finding(rule, variant.key, GateVerdict.ERROR, NOT_IN_BOTH)
        if change := change_of(rule.metric):
            paired = self.suites.get(variant.key, {}).get(change)
            if paired is None:
                return finding(rule, variant.key, GateVerdict.ERROR, OTHER_ITEMS)
            return judge_figure(rule, variant.key, *sides, self.cells, paired)
        if rule.counted or _same_in_each_run(rule.metric):
            return judge_figure(rule, variant.key, *sides, self.cells)
        if note := "; ".join(alone_notes(((self.stored, base), (self.run, variant)))):
            return finding(rule, variant.key, GateVerdict.INCONCLUSIVE, note)
        return judge_figure(rule, variant.key, *sides, self.cells, spread=NORMAL_95 * ALONE_APART_SD)


def _why_unmeasured(base: Row | None, variant: Row) -> str:
    """Return why a row cannot be compared with itself in the earlier run; "" if it can."""
    if base is None:
        return "the earlier run has no such row"
    for row, where in ((base, "in the earlier run"), (variant, "in this run")):
        if not row.ok:
            return f"{row.name} was not measured {where}: {row.status}: {row.reason}"
    return ""


def _same_in_each_run(metric: str) -> bool:
    """Return whether a figure depends on the model's answers alone, and not on the machine's speed."""
    suites = {one.key for _name, module in plugins.each("drift.suites") for one in module.METRICS}
    return metric in suites | drift_keys()
