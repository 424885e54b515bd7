"""Hold one row while it is measured: its worker process, what that is told, what is known of its model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench import plugins
from bench.config.cascade_questions import questions
from bench.config.cascades import edge_runtime
from bench.config.devices import devices_of
from bench.config.encoders import in_one_turn, module_of
from bench.config.spec import Arm, Optimisation, Place
from bench.environments import interpreter
from bench.formatting import row_title
from bench.machine import noise
from bench.machine.devices import cuda_device_count
from bench.machine.gpu_watch import GpuRound, GpuWatch
from bench.machine.gpus import gpu_for
from bench.machine.nvml import Gpu
from bench.machine.proc import tree_of
from bench.measure import replies
from bench.measure.clouds import key_told, token_prices
from bench.measure.context import RunContext as RunContext
from bench.measure.events import Began
from bench.measure.replies import Asked, Command, Reply
from bench.measure.worker_process import WorkerProcess
from bench.models.reasoning import markers_of
from bench.models.reference import LocalModel, ModelRef, named_or_path
from bench.optimisations import routes
from bench.optimisations.shared.cascading import told
from bench.records import Facts, Json, Loaded
from bench.store import tree
from bench.store.files import slug
from bench.workloads import Prompt

Fetch = Callable[[ModelRef], LocalModel]
QUIET = GpuRound()
HERE = Place()


@dataclass
class ArmUnderTest:
    """An arm, its worker process and what is known about the model once it is loaded."""

    arm: Arm
    group: str
    context: RunContext
    worker: WorkerProcess
    facts: Facts | None = None
    reopened: bool = False
    disturbed: bool = False
    on_gpu: GpuRound = QUIET
    cascade: Json | None = None  # its terms, once it is loaded
    input_tokens: tuple[int, ...] = ()  # of each request, once it is tokenised

    @property
    def title(self) -> str:
        """Return the arm's name within the run, after the cell of the sweep if there is one."""
        return row_title(self.group, self.arm.name)

    @property
    def known(self) -> Facts:
        """Return the facts of the loaded model; the model must be loaded already."""
        assert self.facts is not None, f"{self.arm.name} is not loaded yet"
        return self.facts

    def loaded_with(self, loaded: Loaded) -> None:
        """Keep the facts of the loaded model, and write what was found in it to the journal."""
        self.facts = loaded.facts
        self.cascade = next((step["cascade"] for step in loaded.evidence if step.get("cascade")), None)
        self.record(loaded=loaded)

    @property
    def batches(self) -> int:
        """Return the number of batches in one round of the workload."""
        return -(-self.arm.workload.requests // self.arm.workload.batch_size)

    @property
    def turns(self) -> int:
        """Return how many turns a request takes: one per output token, or one for all of it."""
        whole = in_one_turn(self.arm.runtime) or self.is_cascade
        return 1 if whole else self.arm.workload.output_tokens

    @property
    def is_cascade(self) -> bool:
        """Return whether a small model answers first, and each request is routed."""
        return any(routes(step.verb) for step in self.arm.optimise)

    @property
    def is_far(self) -> bool:
        """Return whether it is a cascade whose large model is a server elsewhere."""
        return any(dict(step.params).get("cloud") is not None for step in self.arm.optimise)

    @property
    def asked(self) -> Asked:
        """Return how many requests and turns a complete reply about this arm has."""
        return Asked(self.arm.workload.requests, self.turns)

    def tokens_in(self, batches: Sequence[int], answers: Sequence[int]) -> int:
        """Return the tokens of the prompts of these batches and of their ``answers``, one number a batch."""
        size = self.arm.workload.batch_size
        places = (number % self.batches * size for number in batches)
        return sum(answers) + sum(sum(self.input_tokens[place : place + size]) for place in places)

    def record(self, **payload: object) -> None:
        """Write one record of this arm to the journal, and sync it to the disk before anything else happens.
        A worker that was started again, as a partner or for a further pair, records nothing: the journal has
        its row already."""
        if self.reopened:
            return
        self.add(**payload)
        self.context.journal.sync()

    def add(self, **payload: object) -> None:
        """Write to the arm's record what belongs there even if its worker was started again."""
        self.context.journal.append("arm", {"group": self.group, "name": self.arm.name, **payload})

    def stage(self, name: str, command: Command[Reply], **arguments: object) -> Reply:
        """Run one command of the worker and record the machine's noise during it."""
        self.context.pause()
        self.context.tell(Began(self.title, name))
        watch, before = watch_of(self), noise.read_ticks([self.worker.pid])
        self.worker.on_progress = lambda text: self.context.tell(Began(self.title, f"{name}, {text}"))
        result = self.worker.ask(command.do, self.context.measure.timeout_s, **arguments)
        after = noise.read_ticks([self.worker.pid])
        reply = replies.read(command, result, self.asked)
        self.on_gpu = end_of(watch, self)
        accepted = self.context.measure.max_disturbance
        self.disturbed = noise.disturbed(before, after, accepted) or bool(self.on_gpu.void)
        self.record(noise=[{**noise.between(command.do, before, after), **self.on_gpu.record}])
        return reply


def watch_of(*sides: ArmUnderTest) -> GpuWatch:
    """Begin to watch the GPUs of these rows; a row on a CPU has none."""
    gpus = map(gpu_for, sorted({device for side in sides for device in devices_of(side.arm.runtime)}))
    return GpuWatch([gpu for gpu in gpus if isinstance(gpu, Gpu)])


def end_of(watch: GpuWatch, *sides: ArmUnderTest) -> GpuRound:
    """Return what happened on the GPUs of these rows. Their workers and the harness are not neighbours."""
    own_pids = [os.getpid(), *(pid for side in sides for pid in tree_of(side.worker.pid))]
    workers = sum(side.facts is not None and side.facts.on_gpu for side in sides)
    return watch.end(own_pids, workers, sides[0].context.measure.max_disturbance)


def open_worker(arm: Arm, group: str, context: RunContext) -> ArmUnderTest:
    """Return the arm with its worker process, which is not started yet."""
    log = context.directory / "logs" / f"{slug(row_title(group, arm.name))}.log"
    runtime = arm.runtime
    python = interpreter(runtime.name, runtime.python)
    on_cpu = runtime.device == "cpu" or (runtime.device == "auto" and not cuda_device_count())
    worker = WorkerProcess(
        arm.name, log, python, runtime.threads, on_cpu, arm.place.directory, context.measure.memory_bytes
    )
    return ArmUnderTest(arm, group, context, worker)


def tidy(row: ArmUnderTest) -> None:
    """Give the arm the files of its commit as they were built, without what an earlier process wrote."""
    place = row.arm.place
    if place.manifest is not None:
        tree.restore(Path(place.manifest).parent)


def load_arguments(
    arm: Arm, model: LocalModel, baseline: LocalModel, fetch: Fetch | None = None
) -> dict[str, object]:
    """Return the arguments of ``load``: model, options, optimisations, and the baseline to learn from.

    ``fetch`` finds the models that settings name, such as one that drafts.
    """
    runtime, load = arm.runtime, arm.workload
    return {
        "directory": str(model.directory),
        "runtime": module_of(runtime),
        "options": {
            "device": runtime.device,
            "dtype": runtime.dtype,
            "threads": runtime.threads,
            "attention": runtime.attention,
            "random": model.random,
            "task": runtime.task,
            "own": dict(runtime.own),
        },
        "batches": None if load.batch_size == 1 else "even" if load.name == "fixed" else "padded",
        "baseline": {"directory": str(baseline.directory), "random": baseline.random},
        "optimise": [_told(arm, step, baseline, fetch) for step in arm.optimise],
    }


def _told(arm: Arm, step: Optimisation, baseline: LocalModel, fetch: Fetch | None) -> dict[str, object]:
    """Return a step as the worker gets it. The step of a cascade contains the arguments of ``load`` for the
    edge model."""
    module = {
        "label": f"{step.verb}: {step.scheme}",
        "module": plugins.module_name(f"optimisations.{step.verb}", step.scheme),
    }
    if not routes(step.verb):
        return {**module, "params": _with_models(step, fetch, arm.place)}
    assert fetch is not None
    params = dict(step.params)
    edge: Any = params["edge"]
    runtime = edge_runtime(arm.runtime, edge)
    model = models_of(step, arm.place)["edge"]
    small = replace(arm, model=model, runtime=runtime, optimise=edge.optimise)
    load = load_arguments(small, fetch(small.model), baseline, fetch)
    more = {"learn": learn} if (learn := questions(params)) else {}
    terms = {**told(params), **token_prices(params)}
    return {**module, "params": {}, "told": terms, "edge": load, **key_told(params, arm.place), **more}


def _with_models(step: Optimisation, fetch: Fetch | None, place: Place) -> dict[str, object]:
    """Return the settings of a step, in which each name of a model is replaced by its directory."""
    params = dict(step.params)
    for key, model in models_of(step, place).items():
        assert fetch is not None
        params[key] = str(fetch(model).directory)
    return params


def models_of(step: Optimisation, place: Place = HERE) -> dict[str, ModelRef]:
    """Return the models that the settings of a step name, such as one that drafts, by their keys. Names and
    paths are looked up from ``place``, the commit or directory of the row."""
    scheme, params = plugins.load(f"optimisations.{step.verb}", step.scheme), dict(step.params)
    if routes(step.verb):
        edge: Any = params["edge"]
        named = {"edge": named_or_path(edge.model)}
    else:
        named = {key: named_or_path(str(params[key])) for key in getattr(scheme, "MODELS", ())}
    return {key: place.model(model) for key, model in named.items()}


def prompt_arguments(arm: Arm, prompts: Sequence[Prompt]) -> dict[str, object]:
    """Return the arguments of ``prompts``: requests, batch size, output tokens, markers of reasoning."""
    load = arm.workload
    return {
        "reasoning": markers_of(arm.model, load.name, dict(load.own), arm.place.models),
        "prompts": [asdict(prompt) for prompt in prompts],
        "batch_size": arm.workload.batch_size,
        "output_tokens": arm.workload.output_tokens,
    }
