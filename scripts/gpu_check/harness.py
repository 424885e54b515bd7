"""The plain loop and a worker of the harness, each in a process that decodes a request when it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from gpu_check.setting import Setting, environment

PLAIN = Path(__file__).with_name("plain.py")
START_S = 400.0  # loading and compiling an 8B model


class Plain:
    """A plain loop in its own process, which decodes a request when it is asked."""

    def __init__(self, setting: Setting, model: Mapping[str, Any], mode: str, batch: int = 1) -> None:
        load = setting.workload(batch)
        sizes = [str(load[key]) for key in ("batch_size", "input_tokens", "output_tokens")]
        self._setting = setting
        directory = str(directory_of(model))
        self._command = [
            sys.executable, str(PLAIN), directory, setting.dtype, device_of(setting.device), mode, *sizes
        ]  # fmt: skip

    def __enter__(self) -> Plain:
        errors = self._setting.out / "plain.log"
        errors.parent.mkdir(parents=True, exist_ok=True)
        alone = {"OMP_NUM_THREADS": "1"} if self._setting.device == "cpu" else {}
        with errors.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                bufsize=1, env=environment() | alone,
            )  # fmt: skip
        self._watchdog = threading.Timer(self._setting.left_s(), self._process.kill)
        self._watchdog.start()
        if self._line() != "ready":
            self.__exit__(None, None, None)
            self._setting.left_s()
            raise RuntimeError(f"the plain loop did not start: {errors.read_text()[-600:]}")
        return self

    def request(self, profile: bool = False) -> list[float]:
        """Decode a request, after a profiled one if so asked; return the milliseconds of its steps."""
        assert self._process.stdin is not None
        self._process.stdin.write("profile\n" if profile else "\n")
        line = self._line()
        if not line:
            self._setting.left_s()
            raise RuntimeError("the plain loop died")
        found: list[float] = json.loads(line)
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.communicate()


class Harness:
    """A worker of the harness with one row, whose timed pass is run when it is asked."""

    def __init__(self, setting: Setting, model: Mapping[str, Any], mode: str, batch: int = 1) -> None:
        from bench.config.reader import read_config
        from bench.measure.worker_process import WorkerProcess

        more = {"optimise": STEPS[mode](setting)} if mode != "eager" else {}
        path = setting.config(model, f"harness-{mode}-{batch}", workload=setting.workload(batch), **more)
        self.arm = read_config(path).groups[0].baseline
        log = setting.out / "harness.log"
        threads, on_cpu = self.arm.runtime.threads, setting.device == "cpu"
        self.worker = WorkerProcess("gpu-check", log, None, threads, on_cpu)
        self._setting = setting

    def __enter__(self) -> Harness:
        from bench.measure.arm import load_arguments, prompt_arguments
        from bench.measure.asked import prompts_of
        from bench.models.fetch import ensure

        self.worker.__enter__()
        try:
            model = ensure(self.arm.model)
            self.ask("load", **load_arguments(self.arm, model, model))
            self.ask("prompts", **prompt_arguments(self.arm, prompts_of(self.arm)))
            self.ask("warm_up", least=3)
        except BaseException:
            self.worker.close()
            raise
        return self

    def ask(self, do: str, **arguments: Any) -> Mapping[str, Any]:
        """Give the worker one command, and return its reply."""
        return self.worker.ask(do, min(START_S, self._setting.left_s()), **arguments)

    def request(self) -> list[float]:
        """Run the timed pass over one batch of requests; return the milliseconds of its steps."""
        (batch,) = self.ask("solo")["batches"]
        stamps = batch["stamps_ns"]
        return [(later - earlier) / 1e6 for earlier, later in pairwise(stamps)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.worker.close()


def compiled_steps(setting: Setting) -> list[dict[str, Any]]:
    """Return the steps of a compiled row: a CUDA graph, where there is CUDA."""
    mode = {} if setting.device == "cpu" else {"mode": "reduce-overhead"}
    return [{"compile": "inductor", **mode}]


STEPS = {
    "compiled": compiled_steps,
    "nf4": lambda _setting: [{"quantise": "bnb-nf4", "double_quant": True}],
}


def interleaved(sides: Sequence[Plain | Harness], requests: int) -> list[list[list[float]]]:
    """Decode requests of each side by turns, in an order that turns round each time."""
    found: list[list[list[float]]] = [[] for _ in sides]
    for number in range(requests):
        places = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for place in places:
            found[place].append(sides[place].request())
    return found


def device_of(asked: str) -> str:
    """Return the device as torch calls it."""
    return "cuda:0" if asked == "cuda" else asked


def directory_of(model: Mapping[str, Any]) -> Path:
    """Return the directory of a model with random weights: its config."""
    from bench.models.fetch import ensure
    from bench.models.reference import Random

    sizes = {key: value for key, value in model.items() if key != "random"}
    return ensure(Random(model["random"], **sizes)).directory
