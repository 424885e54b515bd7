"""Gates without measuring: a finished run against its own limits, or against an earlier run.

Second best to a live comparison. A stored baseline was measured in another session, so the spread between
sessions is added to the interval, and another machine is refused (IncomparableError, exit 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import Outcome, UsageError
from bench.gate.figures import judge_figure, judge_interval
from bench.gate.finding import ERROR, INCONCLUSIVE, Finding, block
from bench.gate.limits import Rule, rules
from bench.results.between import between_runs

Run = Mapping[str, Any]


def judge_run(run: Run) -> dict[str, Any]:
    """``run`` with a ``gate`` block from its own comparisons and figures: one pair of processes a variant.

    Raises UsageError where the run's config sets no limit.
    """
    if run.get("gate"):
        return dict(run)
    limits, variants = _limits(run), [one for one in run["variants"] if not one["is_baseline"]]
    cells = len(limits) * len(variants)
    findings = [_within_run(run, rule, variant, cells) for variant in variants for rule in limits]
    return {**run, "gate": block(findings, _evidence("run", run))}


def against_run(run: Run, stored: Run) -> dict[str, Any]:
    """``run`` with a ``gate`` block that holds every row against the same row of ``stored``."""
    changes = {(row["group"], row["variant"], row["metric"]): row for row in between_runs(stored, run)}
    limits = _limits(run)
    cells = len(limits) * len(run["variants"])
    findings = [
        finding
        for variant in run["variants"]
        for rule in limits
        if (finding := _between(rule, variant, changes, cells)) is not None
    ]
    return {**run, "gate": block(findings, {**_evidence("stored", run), "base": stored["run_id"]})}


def _limits(run: Run) -> list[Rule]:
    found = list(rules(run["spec"].get("gate") or {}))
    if not found:
        raise UsageError(f"{run['run_id']}: its config sets no limit; give a gate block, see configs/ci.yaml")
    return found


def _evidence(mode: str, run: Run) -> dict[str, Any]:
    return {
        "mode": mode, "run_id": run["run_id"], "units": 0, "void_units": 0, "units_from_earlier_runs": 0,
        "seconds_per_unit": None, "calibration": None,
    }  # fmt: skip


def _within_run(run: Run, rule: Rule, variant: Mapping[str, Any], cells: int) -> Finding:
    group, name = variant["group"], variant["name"]
    base = next(v for v in run["variants"] if v["is_baseline"] and v["group"] == group)
    for row in (base, variant):
        if row["status"] != Outcome.OK:
            reason = f"{row['name']} was not measured: {row['status']}: {row['reason']}"
            return Finding(str(rule), rule.metric, group, name, rule.kind, ERROR, reason)
    for one in run["comparisons"]:
        same = (one["group"], one["variant"], one["metric"]) == (group, name, rule.metric)
        if same and rule.relative and one["ci_low"] is not None:
            return judge_interval(rule, group, name, one["ratio"], one["ci_low"], one["ci_high"], cells)
    figures = [{**row["metrics"], **row["drift"]}.get(rule.metric) for row in (base, variant)]
    return judge_figure(rule, group, name, figures[0], figures[1], cells)


def _between(
    rule: Rule,
    variant: Mapping[str, Any],
    changes: Mapping[tuple[str, str, str], Mapping[str, Any]],
    cells: int,
) -> Finding | None:
    group, name = variant["group"], variant["name"]
    if not rule.relative:
        if variant["is_baseline"]:
            return None
        figure = {**variant["metrics"], **variant["drift"]}.get(rule.metric)
        return judge_figure(rule, group, name, None, figure, cells)
    row = changes.get((group, name, rule.metric))
    if row is not None and row["ci_low"] is None and row["note"]:
        return Finding(str(rule), rule.metric, group, name, rule.kind, INCONCLUSIVE, row["note"])
    if row is None or row["ratio"] is None or row["ci_low"] is None:
        reason = "it was not measured in both runs, or has no interval"
        return Finding(str(rule), rule.metric, group, name, rule.kind, ERROR, reason)
    return judge_interval(rule, group, name, row["ratio"], row["ci_low"], row["ci_high"], cells)
