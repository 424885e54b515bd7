"""Let lm-eval write its requests, or judge answers to them: ``python -m bench.measure.lm_eval_child IN OUT``.

It runs as a process of its own, because lm-eval imports much, and the Python of its own tasks with it. IN is
JSON: ``tasks`` (names, or what a task file says), ``limit``, ``num_fewshot`` and ``answers``, one for each
request in order; without them every answer is empty, and only the requests count. OUT is JSON: the requests,
the documents with the values of their metrics, and versions; or why a task is ``refused``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.engine.template_limits import bounded
from bench.errors import Explained, VariantFailed
from bench.machine.proc import be_killed_first
from bench.models.child import of_libraries
from bench.records.json_form import Json

# Those of lm-eval's metrics that are 0 or 1 for a document.
METRICS = ("acc", "exact_match", "acc_norm", "acc_bytes", "acc_mutual_info", "em")
EMPTY = {"loglikelihood": (-1.0, False), "loglikelihood_rolling": -1.0, "generate_until": ""}
MOST_NAMED = 200  # letters of the names of tasks, in a message
TEMPLATE = "a template of the task"
RENDER_S, RENDER_BYTES, MOST_LETTERS = 10.0, 1 << 30, 1_000_000  # of one text
NO_DATA = (
    "{task}: its data set is not on this disk, and none is downloaded during a run; load it once with "
    "datasets.load_dataset ({why})"
)


def main() -> None:
    """Read what is asked, and write what was found or why it cannot be."""
    asked = json.loads(Path(sys.argv[1]).read_bytes())
    names = ", ".join(one if isinstance(one, str) else one["task"] for one in asked["tasks"])
    try:
        with Explained(lambda bad: _refused(bad, names[:MOST_NAMED])):
            found = evaluated(asked)
    except Refused as bad:
        found = {"refused": str(bad)}
    Path(sys.argv[2]).write_text(json.dumps(found), encoding="utf-8")


class Refused(Exception):
    """A task cannot be asked here."""


def _refused(bad: BaseException, names: str) -> Refused | None:
    """Return why tasks cannot be asked, in one line, from what lm-eval has raised about them. None for what
    is no fault of theirs, such as a disk that is full."""
    if isinstance(bad, Refused):
        return None
    if isinstance(bad, VariantFailed):
        return Refused(f"{names}: {bad.reason}")
    if isinstance(bad, MemoryError):
        return Refused(f"{names}: lm-eval needs more memory than it may have")
    first = bad  # the error that datasets raises says only that there was one
    while first.__cause__ is not None:
        first = first.__cause__
    said = of_libraries(first, f"{names}: lm-eval cannot ask it: ")
    return None if said is None else Refused(str(said))


def evaluated(asked: Mapping[str, Any]) -> Json:
    """Run the tasks with the answers given. Raises Refused."""
    _render_within_limits()
    from importlib.metadata import version

    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    for name in ("add_env_info", "add_tokenizer_info"):  # they look at the whole machine, for seconds
        if hasattr(evaluator, name):
            setattr(evaluator, name, lambda *_given: None)
    named = any(isinstance(one, str) for one in asked["tasks"])
    manager = TaskManager(include_defaults=named)  # to look at those that come with lm-eval takes seconds
    tasks = [_task(one, manager) for one in asked["tasks"]]
    model = answering(asked["answers"])
    found = evaluator.simple_evaluate(
        model=model, tasks=tasks, limit=asked["limit"], num_fewshot=asked["num_fewshot"], bootstrap_iters=0,
        log_samples=True, cache_requests=False, task_manager=manager,
    )  # fmt: skip
    about = {name: _about(name, samples, found) for name, samples in found["samples"].items()}
    return {
        "harness": f"lm-eval {version('lm_eval')}",
        "tasks": about,
        "requests": model.asked,
        "documents": [
            {
                "task": name,
                "doc": one["doc_id"],
                "values": [float(one[key]) for key in about[name]["metrics"]],
            }
            for name, samples in found["samples"].items()
            for one in _of_one_filter(samples)
        ],
    }


def _render_within_limits() -> None:
    """Let lm-eval, which is imported after this, render the templates of tasks in Jinja's sandbox, because a
    template outside it can reach every object of Python, with limits of time, memory and length."""
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    class Template(jinja2.Template):
        """A template that renders a short text in a short time."""

        def render(self, *given: Any, **named: Any) -> str:
            with bounded(TEMPLATE, RENDER_S, RENDER_BYTES):
                text = super().render(*given, **named)
            if len(text) > MOST_LETTERS:
                raise Refused(f"{TEMPLATE} writes {len(text):,} letters, and {MOST_LETTERS:,} is the limit")
            return text

    class Environment(SandboxedEnvironment):
        """The sandbox. To compile a template computes what is constant in it."""

        template_class = Template

        def from_string(self, *given: Any, **named: Any) -> Any:
            with bounded(TEMPLATE, RENDER_S, RENDER_BYTES):
                return super().from_string(*given, **named)

    jinja2.Environment = Environment  # type: ignore[misc]


def answering(answers: Sequence[Any] | None) -> Any:
    """Return a model of lm-eval that gives these answers in order, or empty ones, and keeps what it was
    asked."""
    from lm_eval.api.model import LM

    class Answering(LM):  # type: ignore[misc]
        """What was asked is in ``asked``."""

        def __init__(self) -> None:
            super().__init__()
            self.asked: list[dict[str, Any]] = []

        def _each(self, kind: str, requests: Sequence[Any]) -> list[Any]:
            found = []
            for one in requests:
                answer = answers[len(self.asked)] if answers is not None else None
                self.asked.append(
                    {"kind": kind, "task": one.task_name, "doc": one.doc_id, "args": list(one.args)}
                )
                found.append(EMPTY[kind] if answer is None else answer)
            return found

        def loglikelihood(self, requests: Sequence[Any], **_more: Any) -> list[Any]:
            return [tuple(one) for one in self._each("loglikelihood", requests)]

        def loglikelihood_rolling(self, requests: Sequence[Any], **_more: Any) -> list[Any]:
            return self._each("loglikelihood_rolling", requests)

        def generate_until(self, requests: Sequence[Any], **_more: Any) -> list[Any]:
            return self._each("generate_until", requests)

    return Answering()


def _task(asked: str | Mapping[str, Any], manager: Any) -> Any:
    """Return a task by its name, or the task that a checked file describes. Raises Refused for one that does
    not exist, and without its data."""
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import get_task_dict

    if not isinstance(asked, str):
        return ConfigurableTask(config=dict(asked))
    if asked not in manager.all_tasks:
        from bench.formatting import did_you_mean

        hint = did_you_mean(asked, manager.all_tasks, "`lm-eval ls tasks` lists them")
        raise Refused(f"no task of lm-eval is called {asked!r} ({hint})")
    try:
        get_task_dict([asked], manager)
    except (OSError, ValueError) as bad:
        why = " ".join(str(bad).split())[:200]
        raise Refused(NO_DATA.format(task=asked, why=why)) from bad
    return asked


def _about(name: str, samples: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result keeps of a task: its version, and the metrics that judge single documents."""
    better = found["higher_is_better"].get(name, {})
    metrics = [key for key in METRICS if key in samples[0] and better.get(key, True)]
    named = [key for key in samples[0].get("metrics", ()) if key in metrics] or metrics
    if not named:
        raise Refused(f"{name}: none of its metrics judges single documents as right or wrong")
    shots = found["n-shot"].get(name)
    return {
        "version": found["versions"].get(name), "n_shot": shots, "metrics": named,
        "kind": found["configs"][name].get("output_type"), "filter": samples[0].get("filter"),
    }  # fmt: skip


def _of_one_filter(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the documents as the first of a task's filters reads the answers."""
    first = samples[0].get("filter")
    return [one for one in samples if one.get("filter") == first]


if __name__ == "__main__":
    be_killed_first()
    main()
