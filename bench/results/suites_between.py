"""Pair the answers that two runs gave to the same items of their behaviour suites.

Within a run, a row's answers are compared with those of its baseline. Here the same row of an earlier run
takes the baseline's place, so a suite judges two runs in the way in which it judges two rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench import plugins
from bench.drift.behaviour import answers
from bench.records import ArmRecord, RunRecord, SuiteAnswers
from bench.stats.figure import Figures


def suites_between(before: RunRecord, after: RunRecord) -> dict[tuple[str, str], Figures]:
    """Return the figures of the suites for every row that answered suites in both runs, by the row's key.

    A change (``factuality_change``) is the one from ``before`` to ``after``, paired by item. It is absent or
    None if the two runs did not answer the same items: an item that one of them could not answer is not
    passed over, because the others may be the easy ones.
    """
    earlier = {(arm.group, arm.name): arm for arm in before.arms}
    found: dict[tuple[str, str], Figures] = {}
    for arm in after.arms:
        base = earlier.get((arm.group, arm.name))
        if base is not None and base.suites and arm.suites:
            asked = after.baseline_of(arm)
            same = _with_items(before, base, arm, asked.suites if asked else {})
            found[arm.group, arm.name] = _compared(same, arm, after)
    return found


def _compared(base: ArmRecord, arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the figures of the suites that ``arm`` answered, with ``base`` as its baseline."""
    ours = replace(arm, is_baseline=False)
    pair = replace(run, arms=(base, ours), units=())
    found: Figures = {}
    for name, module in plugins.each("drift.suites"):
        if name in ours.suites:
            found |= module.figures(ours, pair)
    return found


def _with_items(
    run: RunRecord, arm: ArmRecord, later: ArmRecord, asked: Mapping[str, SuiteAnswers]
) -> ArmRecord:
    """Return a row as a baseline, with its answers to the suites in which it can be compared with ``later``.

    A journal keeps the items with its baseline: ``asked`` are those of the later run.
    """
    baseline = run.baseline_of(arm)
    kept: Mapping[str, SuiteAnswers] = baseline.suites if baseline else {}
    answered = {
        name: replace(one, items=kept[name].items)
        for name, one in arm.suites.items()
        if name in later.suites and name in kept and name in asked
        if kept[name].digest == one.digest and kept[name].items == asked[name].items
        if _comparable(one, later.suites[name])
    }
    return replace(arm, is_baseline=True, suites=answered)


def _comparable(before: SuiteAnswers, after: SuiteAnswers) -> bool:
    """Return whether both answered the same items, judged by the same versions of lm-eval's tasks."""
    gaps = ([answer is None for answer in answers(one)] for one in (before, after))
    return next(gaps) == next(gaps) and before.about.get("tasks") == after.about.get("tasks")
