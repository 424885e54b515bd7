"""Judge a run against its limits: give a verdict on every rule and variant, and one on the whole gate.

The ``kind`` of a rule says how it is judged: times by a sequential test over units, counts by a plain
comparison, and every other figure by its own interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from bench.errors import Outcome
from bench.gate.answered_again import doubted
from bench.gate.calibration import Calibration
from bench.gate.cascade_metrics import is_for
from bench.gate.change_impact import any_reached, nothing_differs, unreached_verdict
from bench.gate.contradicted_drift import suspected
from bench.gate.counted import IMPROBABLE_RATIO, is_exact, more_counts, more_work, only_code_differs
from bench.gate.cut_short import CUT_SHORT, of_cut_short
from bench.gate.figures import change_of, judge_figure
from bench.gate.findings import BROKEN, Effort, Finding, GateBlock, GateVerdict, block, finding
from bench.gate.limits import MOST_FINDINGS, MOST_TIMED, Rule, rules, timed_cells
from bench.gate.sequential import CONFIDENCE, WHOLE_STAKE, Test, confidence_sequence, decide
from bench.metrics.unit_ratios import COLD, log_ratios
from bench.records import ArmRecord, RunRecord, UnitRecord
from bench.stats.figure import Figures
from bench.stats.intervals import LEAST_SAMPLES

CANDIDATE = "candidate"
_BASE_FAILED = (Outcome.BASELINE_FAILED, Outcome.BROKEN_BASE)
MAX_VOID_SHARE = 0.2  # of the cap: with more void units the machine is not fit to judge times now
FiguresOfRows = Mapping[tuple[str, str], Figures]  # by a row's group and name


def judge(run: RunRecord, figures: FiguresOfRows) -> GateBlock | None:
    """Make the ``gate`` block of ``run.json`` from a run alone; None for a run that is not a gate."""
    if run.gate is None or run.gate.get("mode") == "calibration":
        return None
    rest = [of_cut_short(rule) for rule in _rules(run)[:1] if run.finished_utc is None]
    return block([*suspected(_findings(run, figures), figures), *rest], _effort(run.gate, run.units))


def undecided(run: RunRecord) -> set[tuple[str, str]]:
    """Return (group, variant) of every comparison that needs another unit.

    It needs one if a timed rule has no verdict yet, or if an absolute limit is on a cold start and there are
    too few starts for an interval.
    """
    undecided_rows, reached = set(), any_reached(run, run.compared)
    timed = [rule for rule in _rules(run) if rule.kind == "timed"]
    starts = any(rule.kind == "interval" and rule.metric in COLD for rule in _rules(run))
    for base, variant in run.compared:
        if variant.status not in (Outcome.OK, Outcome.INTERRUPTED) or base.status in _BASE_FAILED:
            continue
        if base.status == variant.status == Outcome.OK and not reached:
            continue
        more = any(_open(run, rule, base, variant) for rule in timed)
        more = more or more_counts(run, _rules(run), variant)
        if more or (starts and _too_few_starts(run, variant)):
            undecided_rows.add((variant.group, variant.name))
    return undecided_rows


def _too_few_starts(run: RunRecord, variant: ArmRecord) -> bool:
    """Return whether the interval of a cold start needs another process.

    Only the number of starts decides when to stop, and not the measured times, so the interval for a sample
    of fixed size is valid.
    """
    units = run.units_of(variant)
    cap = int((run.gate or {}).get("test", {}).get("cap", Test.cap))
    return sum(not unit.void for unit in units) < LEAST_SAMPLES and len(units) < cap


def _sequential_test(run: RunRecord, rule: Rule) -> Test:
    """Return the sequential test of a timed rule, with its error rate divided over all timed cells."""
    settings = {"stake": WHOLE_STAKE, **(run.gate or {}).get("test", {})}
    cells = timed_cells(_rules(run), len(run.compared))
    return Test(margin=rule.margin, cells=max(cells, 1), **settings)


def _rules(run: RunRecord) -> list[Rule]:
    return list(rules((run.gate or {}).get("limits", {})))


def _findings(run: RunRecord, figures: FiguresOfRows) -> Iterator[Finding]:
    wanted, comparisons = _rules(run), run.compared
    too_many = timed_cells(wanted, len(comparisons)) > MOST_TIMED
    if too_many or len(wanted) * len(comparisons) > MOST_FINDINGS:
        raise ValueError(f"more than {MOST_TIMED} limits on times, or {MOST_FINDINGS} limits, times rows")
    if unmeasured := (run.gate or {}).get("unmeasured"):
        for rule in wanted:
            verdict = GateVerdict(unmeasured["verdict"])
            yield finding(rule, ("", CANDIDATE), verdict, unmeasured["reason"])
        return
    if nothing_differs(run):
        for rule in wanted:
            reason = "the commits are the same to the last file: nothing was measured"
            yield finding(rule, ("", CANDIDATE), unreached_verdict(run), reason)
        return
    for row in (run.gate or {}).get("gone", ()):
        reason = "the candidate has no such row, so it was not measured"
        yield finding(wanted[0], (row, CANDIDATE), unreached_verdict(run), reason)
    cells = sum(rule.kind == "interval" for rule in wanted) * len(comparisons)
    reached = any_reached(run, comparisons)
    for base, variant in comparisons:
        for rule in wanted:
            if (unmeasured := _unmeasured(rule, base, variant)) is not None:
                yield unmeasured
            elif not reached:
                reason = "the measured processes read nothing that differs between the commits"
                yield finding(rule, _key(variant), unreached_verdict(run), reason)
            elif not any(_may_have(rule.metric, side, figures) for side in (base, variant)):
                continue
            elif rule.kind == "timed":
                yield _timed(run, rule, base, variant)
            elif rule.kind == "exact" and not is_exact(run, rule, variant):
                reason = "counts of the same requests varied, here or when this machine was calibrated"
                yield finding(rule, _key(variant), GateVerdict.INCONCLUSIVE, reason)
            else:
                sides = [figures[_key(arm)].get(rule.metric) for arm in (base, variant)]
                change = figures[_key(variant)].get(change_of(rule.metric))
                yield judge_figure(rule, _key(variant), sides[0], sides[1], cells, change)


def _may_have(metric: str, row: ArmRecord, figures: FiguresOfRows) -> bool:
    steps = row.loaded.evidence if row.loaded else ()
    return is_for(metric, row.optimise, steps, figures.get(_key(row), {}).get(metric))


def _key(arm: ArmRecord) -> tuple[str, str]:
    return arm.group, arm.name


def _unmeasured(rule: Rule, base: ArmRecord, variant: ArmRecord) -> Finding | None:
    """Return the finding of a rule if a side failed, and None if both were measured."""
    if base.status == Outcome.BROKEN_BASE:
        reason = f"{BROKEN}: {base.reason}. The candidate answers all its requests"
        return finding(rule, _key(variant), GateVerdict.BROKEN_BASE, reason)
    failed = _failed(base, variant)
    if failed is None:
        return None
    if failed.status == Outcome.INTERRUPTED:
        return finding(rule, _key(variant), GateVerdict.INCONCLUSIVE, CUT_SHORT)
    reason = f"{failed.name} was not measured: {failed.status}: {failed.reason}"
    return finding(rule, _key(variant), GateVerdict.ERROR, reason)


def _failed(base: ArmRecord, variant: ArmRecord) -> ArmRecord | None:
    """Return the side that failed; None if both are complete.

    If one side failed and the other was interrupted because of that, this returns the one that failed.
    """
    failed = [arm for arm in (base, variant) if arm.status != Outcome.OK]
    return min(failed, key=lambda arm: arm.status == Outcome.INTERRUPTED, default=None)


# ---- timed rules ---------------------------------------------------------------------------------


def _open(run: RunRecord, rule: Rule, base: ArmRecord, variant: ArmRecord) -> bool:
    """Return whether another unit may decide a rule; faster than ``_timed``, which also computes bounds."""
    changes = _changes(run, rule, base, variant)
    if isinstance(changes, Finding):
        return changes.verdict == GateVerdict.INCONCLUSIVE and changes.more_may_help
    test = _sequential_test(run, rule)
    decision = decide([rule.sign * change for change in changes], test)
    return decision.verdict is None and len(changes) < test.cap


def _timed(run: RunRecord, rule: Rule, base: ArmRecord, variant: ArmRecord) -> Finding:
    """Judge a timed rule by the sequential test, unless no test is needed or possible (see ``_changes``)."""
    changes = _changes(run, rule, base, variant)
    if isinstance(changes, Finding):
        return changes
    found = _by_test(run, rule, _key(variant), changes, alike=only_code_differs(run, base, variant))
    return doubted(found, run.valid_units_of(variant))


def _changes(run: RunRecord, rule: Rule, base: ArmRecord, variant: ArmRecord) -> list[float] | Finding:
    """Return the log ratio of each unit for the sequential test, or a finding if there is nothing to test.

    No test is needed if counts show more work or a higher price. No test is possible if too many units are
    void, or if the units did not measure the rule's metric.
    """
    counted = more_work(run, rule, base, variant)
    if counted is not None:
        return counted
    measured = run.units_of(variant)
    units = run.valid_units_of(variant)
    void = sum(bool(unit.void and not unit.from_run) for unit in measured)
    if void > MAX_VOID_SHARE * _sequential_test(run, rule).cap:
        reason = f"machine unfit: {void} of {len(measured)} units are void"
        return finding(rule, _key(variant), GateVerdict.INCONCLUSIVE, reason, units=len(units))
    if not units:
        reason = "no unit was measured"
        return finding(rule, _key(variant), GateVerdict.INCONCLUSIVE, reason, more_may_help=True)
    changes = log_ratios(run, base, variant, units, rule.metric)
    if any(change is None for change in changes):
        return finding(rule, _key(variant), GateVerdict.ERROR, "a unit did not measure it")
    return [change for change in changes if change is not None]


def _by_test(
    run: RunRecord, rule: Rule, key: tuple[str, str], changes: Sequence[float], *, alike: bool
) -> Finding:
    """Decide from one log ratio per unit. ``alike`` says that both sides run the same config."""
    test = _sequential_test(run, rule)
    decision = decide([rule.sign * change for change in changes], test)
    low, high = (math.exp(bound) for bound in confidence_sequence(changes, test.prior_sd, stake=test.stake))
    verdict = GateVerdict(decision.verdict or GateVerdict.INCONCLUSIVE)
    reason = {
        GateVerdict.PASS: f"within the limit, shown by {decision.at} units",
        GateVerdict.FAIL: f"worse than the baseline, shown by {decision.at} units",
    }.get(verdict, f"not decided by {len(changes)} units")
    middle = max(math.fsum(changes) / len(changes), median(changes))
    too_good = alike and rule.sign > 0 and math.exp(middle) < IMPROBABLE_RATIO
    if verdict == GateVerdict.PASS and too_good:
        verdict, reason = GateVerdict.SUSPECT, "an improbable improvement: is the same work still being done?"
    return finding(
        rule,
        key,
        verdict,
        reason,
        value=math.exp(math.fsum(changes) / len(changes)),
        low=low,
        high=high,
        confidence=CONFIDENCE,
        units=len(changes),
        evidence_fail=decision.evidence_fail,
        evidence_pass=decision.evidence_pass,
        more_may_help=verdict == GateVerdict.INCONCLUSIVE and len(changes) < test.cap,
    )


def _effort(head: Mapping[str, Any], units: Sequence[UnitRecord]) -> Effort:
    void = sum(bool(unit.void) for unit in units)
    calibration = head.get("calibration")
    return Effort(
        mode=head["mode"],
        units=len(units) - void,
        void_units=void,
        units_from_earlier_runs=sum(bool(unit.from_run and not unit.void) for unit in units),
        units_sharing=sum(unit.shared and not unit.void for unit in units),
        seconds_per_unit=round(math.fsum(u.took_s for u in units) / len(units), 3) if units else None,
        calibration=Calibration(**calibration) if calibration else None,
        details={key: value for key, value in head.items() if key not in ("mode", "calibration")},
    )
