"""Tasks of lm-eval (EleutherAI's evaluation harness), which this row's own model answers and lm-eval judges.

lm-eval writes the requests and judges the answers in a separate process. The model that is measured here
gives the answers, in whatever engine it runs. A task's first metric that is 0 or 1 for each document (such as
``acc`` or ``exact_match``) says whether a document is right. If there are several tasks, each also has its
own figures, ``lm_eval_TASK_accuracy`` and ``lm_eval_TASK_change``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.drift.behaviour import Answer, Suite, on_both
from bench.records import ArmRecord, Json, RunRecord
from bench.stats.figure import Figures

REQUIRES = ("lm_eval",)
NAME = "lm-eval"
WHAT = "the first metric of its task that judges single documents says 1"


def says_one(_item: Json, answer: Answer) -> bool:
    """Return whether the first of lm-eval's values for a document is 1."""
    return answer[0] == 1


TASKS = Suite(NAME, WHAT, says_one)
PLACE = 28
METRICS = TASKS.metrics
OF_EVERY_ROW = (TASKS.accuracy,)


def figures(arm: ArmRecord, run: RunRecord) -> Figures:
    """Return the share of right documents and its change, and the same for each task if there are several.

    The figures are None if no task was asked.
    """
    asked, both = TASKS.asked(arm, run), on_both(run, arm, NAME)
    names = list(dict.fromkeys(item["group"] for item, _answer in asked))
    if not names:
        return dict.fromkeys((metric.key for metric in METRICS), None)
    title = f"{NAME} {names[0]}" if len(names) == 1 else f"{NAME}, all tasks"
    result = TASKS.compared(
        asked, None if arm.is_baseline else both, suite=title, **_about(arm, asked, names)
    )
    for name in names if len(names) > 1 else ():
        of_task = Suite(f"{NAME} {name}", WHAT, says_one)
        ours = [(item, answer) for item, answer in asked if item["group"] == name]
        pairs = [(item, before, after) for item, before, after in both if item["group"] == name]
        result |= of_task.compared(ours, None if arm.is_baseline else pairs, suite=of_task.name)
    return result


def _about(
    arm: ArmRecord, asked: Sequence[tuple[Json, Answer]], names: Sequence[str]
) -> Mapping[str, object]:
    """Return lm-eval's version, and for each task its version and the mean of every metric that is 0 or 1."""
    about: Mapping[str, Any] = arm.suites[NAME].about
    tasks = {}
    for name in names:
        metrics = next(item["metrics"] for item, _answer in asked if item["group"] == name)
        values = [answer for item, answer in asked if item["group"] == name]
        columns = zip(metrics, zip(*values, strict=False), strict=False)
        shares = {metric: sum(map(float, column)) / len(column) for metric, column in columns}
        tasks[name] = {**about.get("tasks", {}).get(name, {}), "n": len(values), "shares": shares}
    return {"harness": about.get("harness"), "tasks": tasks}
