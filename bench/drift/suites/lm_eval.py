"""Tasks of lm-eval (EleutherAI's evaluation harness), which this row's own model answers and lm-eval judges.

lm-eval writes the requests and judges the answers in a separate process. The model that is measured here
gives the answers, in whatever engine it runs. A task's first metric that is 0 or 1 for each document (such as
``acc`` or ``exact_match``) says whether a document is right. If there are several tasks, each also has its
own figures, ``lm_eval_TASK_accuracy`` and ``lm_eval_TASK_change``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bench.drift.behaviour import Answer, Suite, on_both, with_unanswered
from bench.records import ArmRecord, Json, RunRecord
from bench.stats.figure import Figures
from bench.stats.plain_sum import plain_sum

Entry = TypeVar("Entry", bound=tuple[Any, ...])  # begins with an item
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
    by_task, both_by_task = _by_task(asked), _by_task(both)
    names = list(by_task)
    if not names:
        return dict.fromkeys((metric.key for metric in METRICS), None)
    title = f"{NAME} {names[0]}" if len(names) == 1 else f"{NAME}, all tasks"
    result = TASKS.compared(asked, None if arm.is_baseline else both, suite=title, **_about(arm, by_task))
    for name in names if len(names) > 1 else ():
        of_task = Suite(f"{NAME} {name}", WHAT, says_one)
        pairs = None if arm.is_baseline else both_by_task.get(name, [])
        result |= of_task.compared(by_task[name], pairs, suite=of_task.name)
    return with_unanswered(result, TASKS.change.key, run, arm, NAME)


def _by_task(answered: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Return what was answered, each entry beginning with its item, by the task of the item."""
    found: dict[str, list[Entry]] = {}
    for one in answered:
        found.setdefault(one[0]["group"], []).append(one)
    return found


def _about(arm: ArmRecord, by_task: Mapping[str, Sequence[tuple[Json, Answer]]]) -> Mapping[str, object]:
    """Return lm-eval's version, and for each task its version and the mean of every metric that is 0 or 1."""
    about: Mapping[str, Any] = arm.suites[NAME].about
    tasks = {}
    for name, answered in by_task.items():
        values = [answer for _item, answer in answered]
        columns = zip(answered[0][0]["metrics"], zip(*values, strict=False), strict=False)
        shares = {metric: plain_sum(map(float, column)) / len(column) for metric, column in columns}
        tasks[name] = {**about.get("tasks", {}).get(name, {}), "n": len(values), "shares": shares}
    return {"harness": about.get("harness"), "tasks": tasks}
