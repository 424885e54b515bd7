"""Read what the suites of a config say of the tasks of lm-eval, EleutherAI's evaluation harness."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, field_validator

from bench.config.base import Block
from bench.drift.items import MOST_ITEMS

NAME = "lm-eval"  # as its file in bench/drift/suites is called
TASK_FILES = (".yaml", ".yml")


class LmEvalBlock(Block):
    """Tasks of lm-eval that are asked of every row, such as `suites: [{lm_eval: [arc_easy], limit: 200}]`."""

    lm_eval: tuple[str, ...] = Field(
        min_length=1, max_length=50, description="tasks by their names, or by the paths of task files (.yaml)"
    )
    limit: int = Field(200, ge=1, le=MOST_ITEMS, description="documents of each task, from its beginning")
    num_fewshot: int | None = Field(
        None, ge=0, le=100, description="solved examples before each question; as the task has it if absent"
    )

    @field_validator("lm_eval")
    @classmethod
    def _each_once(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        for task in tasks:
            if not 0 < len(task) <= 300 or tasks.count(task) > 1:
                raise ValueError(f"{task[:60]!r}: name each task once, in at most 300 letters")
        return tasks

    @property
    def files(self) -> tuple[str, ...]:
        """Return those of the tasks that are paths of task files."""
        return tuple(task for task in self.lm_eval if is_task_file(task))

    @property
    def most_items(self) -> int:
        """Return how many items the tasks have at most, if none of them is a group of tasks."""
        return len(self.lm_eval) * self.limit


Suites = Iterable[str | LmEvalBlock]


def is_task_file(task: str) -> bool:
    """Return whether a task is named by the path of its file."""
    return task.endswith(TASK_FILES)


def names_of(suites: Suites) -> tuple[str, ...]:
    """Return the names of the suites in a config, lm-eval among them."""
    return tuple(one if isinstance(one, str) else NAME for one in suites)


def lm_eval_of(suites: Suites) -> LmEvalBlock | None:
    """Return what a config asks of lm-eval; None if nothing."""
    return next((one for one in suites if isinstance(one, LmEvalBlock)), None)
