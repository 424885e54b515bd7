"""Run the two passes of lm-eval, each in a process of its own: it writes its requests, then judges the
answers.

Between the two passes the measured model answers the requests in its own engine, so that the model that is
judged is the one that is priced. lm-eval sees no model. Its process gets the variables of a worker and no
network, and what it writes is checked like a file from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.config.settings import DriftBlock
from bench.config.suite_reader import LmEvalBlock, is_task_file, lm_eval_of
from bench.config.task_file import read_task
from bench.drift import items
from bench.errors import BenchError, UsageError
from bench.formatting import MIB, one_line
from bench.machine.package_places import python_path
from bench.measure.worker_environment import worker_environment
from bench.models.child import Limits, last_words, run_child
from bench.records import Json
from bench.store.scratch_directory import scratch_directory
from bench.store.suite_blocks import MOST_TASKS

LIMITS = Limits(seconds=1800, memory_bytes=16 << 30)
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
WRITTEN = ("HF_MODULES_CACHE", "HF_EVALUATE_CACHE", "HF_METRICS_CACHE")
REPLY = "generate_until"
KINDS = ("loglikelihood", REPLY)
MOST_OUT_BYTES = 256 * MIB
ENDLESS = "Timeout ("  # how faulthandler begins, which ends a process that hears no alarm
Answers = Sequence[tuple[float, bool] | str | None]
Pause = Callable[[], None]


@dataclass(frozen=True)
class Request:
    """One request of lm-eval: (context, continuation), or (context, how to generate)."""

    kind: str
    task: str
    doc: int
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Document:
    """A document of a task, with the value of each metric of the task."""

    task: str
    doc: int
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """Return the name of its item."""
        return f"{self.task}/{self.doc}"


@dataclass(frozen=True)
class Task:
    """What lm-eval says of a task; ``metrics`` are those that judge single documents."""

    version: str | float | None
    n_shot: int | None
    metrics: tuple[str, ...]
    kind: str | None
    filter: str | None


@dataclass(frozen=True)
class Evaluated:
    """What one pass of lm-eval found."""

    harness: str
    tasks: Mapping[str, Task]
    requests: tuple[Request, ...]
    documents: tuple[Document, ...]

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all requests and tasks. Results with different ones are not compared."""
        return items.digest(
            [*map(vars, self.requests), {name: vars(task) for name, task in self.tasks.items()}]
        )

    @property
    def about(self) -> Json:
        """Return lm-eval's version and those of the tasks, as a result keeps them."""
        return {"harness": self.harness, "tasks": {name: vars(task) for name, task in self.tasks.items()}}


@cache
def listed(asked: LmEvalBlock) -> Evaluated:
    """Return the requests of the tasks, with empty answers; asked once in a process.

    Raises UsageError for a task that does not exist, that has no data on this disk, that would need more
    than likelihoods and greedy replies, or that judges no single documents.
    """
    evaluated = _run(asked, None, lambda: None)
    for request in evaluated.requests:
        if request.kind not in KINDS or len(request.args) != 2:
            problem = f"only texts are asked for likelihoods or replies, not {request.kind}"
            raise UsageError(f"{request.task}: {problem}")
        if request.kind == REPLY and (request.args[1].get("do_sample") or request.args[1].get("temperature")):
            raise UsageError(f"{request.task}: it samples its replies, and only greedy replies are compared")
    if not {document.name for document in evaluated.documents} <= set(map(_of_document, evaluated.requests)):
        raise BenchError("lm-eval judged a document about which it asked nothing")
    if len(evaluated.documents) > items.MOST_ITEMS or not evaluated.documents:
        many = f"{len(evaluated.documents)} documents, and a run keeps 1 to {items.MOST_ITEMS}"
        raise UsageError(f"lm-eval has {many}: give another limit")
    if len(evaluated.tasks) > MOST_TASKS:
        many = f"{len(evaluated.tasks)} tasks, with those of groups of tasks"
        raise UsageError(f"lm-eval has {many}, and a run has figures of {MOST_TASKS} at most: name fewer")
    try:
        items.must_fit(items_of(evaluated), "lm-eval")
    except ValueError as bad:
        raise UsageError(str(bad)) from None
    return evaluated


def _of_document(request: Request) -> str:
    """Return the name of the document that a request is about."""
    return f"{request.task}/{request.doc}"


def list_tasks(drift: DriftBlock) -> None:
    """Let lm-eval write the requests of a config's tasks, if it has any. Raises as ``listed``."""
    if (asked := lm_eval_of(drift.suites)) is not None:
        listed(asked)


def judged(asked: LmEvalBlock, answers: Answers, pause: Pause) -> Evaluated:
    """Return the documents as lm-eval judges these answers, one for each request. Raises BenchError if the
    requests have changed since they were answered, or a value is neither 0 nor 1."""
    evaluated = _run(asked, answers, pause)
    if evaluated.digest != listed(asked).digest:
        raise BenchError("lm-eval's requests have changed since they were answered")
    without = _unanswered(evaluated, answers)
    for document in evaluated.documents:
        first = document.values[0]
        if document.name not in without and first not in (0, 1):
            metric = evaluated.tasks[document.task].metrics[0]
            raise BenchError(f"{document.name}: its {metric} is {first:g}, so neither right nor wrong")
    return evaluated


def values_of(evaluated: Evaluated, answers: Answers) -> tuple[tuple[float, ...] | None, ...]:
    """Return the values of each document; None if one of its requests had no answer."""
    without = _unanswered(evaluated, answers)
    return tuple(None if document.name in without else document.values for document in evaluated.documents)


def _unanswered(evaluated: Evaluated, answers: Answers) -> set[str]:
    """Return the names of the documents of which a request had no answer."""
    pairs = zip(evaluated.requests, answers, strict=True)
    return {_of_document(request) for request, answer in pairs if answer is None}


def items_of(evaluated: Evaluated) -> tuple[Json, ...]:
    """Return an item for each document: its context, its task as ``group``, and the chance of a guess."""
    requests: dict[str, list[Request]] = {}
    for request in evaluated.requests:
        requests.setdefault(_of_document(request), []).append(request)
    made = []
    for document in evaluated.documents:
        asked, task = requests[document.name], evaluated.tasks[document.task]
        contexts = [str(request.args[0]) for request in asked]
        choices = sum(map(bool, contexts)) or len(asked)  # those without a context are for acc_mutual_info
        guess = {"chance": 1 / choices} if task.kind == "multiple_choice" else {}
        made.append(
            {
                "id": document.name, "lang": "any", "group": document.task, "prompt": contexts[0],
                "metrics": list(task.metrics), **guess,
            }
        )  # fmt: skip
    return tuple(made)


def _run(asked: LmEvalBlock, answers: Answers | None, pause: Pause) -> Evaluated:
    """Run one pass. Raises UsageError for a task that is refused, BenchError if lm-eval fails."""
    with scratch_directory("lm-eval") as place:
        given, out = place / "in.json", place / "out.json"
        given.write_text(json.dumps({**_told(asked, str(place)), "answers": answers}), encoding="utf-8")
        command = ["-m", "bench.measure.lm_eval_child", str(given), str(out)]
        try:
            code, said = run_child(command, _environment(str(place)), pause, LIMITS)
        except BenchError as bad:
            raise BenchError(f"lm-eval: {bad}") from None
        if ENDLESS in said:
            raise UsageError("lm-eval: a template of a task did not end")
        if code != 0 or not out.is_file():
            raise BenchError(f"lm-eval failed with exit code {code}; its last words: {_last_line(said)}")
        if (size := out.stat().st_size) > MOST_OUT_BYTES:
            sizes = f"{size // MIB} MiB, and {MOST_OUT_BYTES // MIB} MiB is the limit"
            raise UsageError(f"the requests of lm-eval take {sizes}: give another limit")
        written = json.loads(out.read_bytes())
    if "refused" in written:
        raise UsageError(one_line(str(written["refused"]))[:1000])
    try:
        return _adapter().validate_python(written)
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BenchError(f"lm-eval's answer at {where}: {first['msg']}") from None


def _last_line(said: str) -> str:
    """Return the last line that the process said: of a traceback, the error alone."""
    return last_words((said.strip().splitlines() or [""])[-1])


def _told(asked: LmEvalBlock, place: str) -> dict[str, Any]:
    """Return what the process is told: the names of tasks, and the content of task files. What is made of a
    file's data lies in ``place``."""
    tasks: list[Any] = []
    for task in asked.lm_eval:
        config = dict(read_task(task).config) if is_task_file(task) else {}
        own = {**config.get("dataset_kwargs", {}), "cache_dir": f"{place}/data"}
        tasks.append({**config, "dataset_kwargs": own} if config else task)
    return {"tasks": tasks, "limit": asked.limit, "num_fewshot": asked.num_fewshot}


def _environment(place: str) -> dict[str, str]:
    """Return the variables of a worker, no network, and this package beside what the user's path has. What
    its libraries write for themselves lies in ``place``; data sets are read where the user keeps them."""
    own = {name: f"{place}/{name}" for name in WRITTEN}
    return {**worker_environment(None, on_cpu=False), **OFFLINE, **own, **python_path()}


@cache
def _adapter() -> TypeAdapter[Evaluated]:
    return TypeAdapter(Evaluated)


def counts(evaluated: Evaluated) -> Iterator[tuple[str, int]]:
    """Yield each task with the number of its documents."""
    for name in evaluated.tasks:
        yield name, sum(document.task == name for document in evaluated.documents)
