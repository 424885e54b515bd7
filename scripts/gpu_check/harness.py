"""Run the harness and the plain loop for the parts: whole commands, or one worker that takes requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAIN = Path(__file__).with_name("plain.py")
START_S = 400.0  # loading and compiling an 8B model


class TookTooLong(Exception):
    """The time of the part is over."""


@dataclass(frozen=True)
class Setting:
    """Where and how large: the device, its card, the model that stands for 8B, and the sizes of a request."""

    device: str
    small: bool
    out: Path
    card: str
    price: Mapping[str, Any]
    deadline: float  # by time.monotonic

    @property
    def large(self) -> dict[str, Any]:
        """Return the model of the large shape."""
        return {"random": "tiny-llama"} if self.small else {"random": "llama-3.1-8b-shape"}

    @property
    def little(self) -> dict[str, Any]:
        """Return the model of the small shape: SmolLM2, whose steps are bound by launches."""
        return {"random": "tiny-llama", "layers": 1} if self.small else {"random": "smollm2-135m"}

    @property
    def dtype(self) -> str:
        """Return the dtype of all models."""
        return "float32" if self.device == "cpu" else "bfloat16"

    @property
    def runtime(self) -> dict[str, Any]:
        """Return the runtime block of all configs."""
        threads = {"threads": 1} if self.device == "cpu" else {}
        return {"device": self.device, "dtype": self.dtype, **threads}

    @property
    def requests(self) -> int:
        """Return how many requests of each side are interleaved."""
        return 4 if self.small else 12

    def workload(self, batch: int = 1, requests: int | None = None) -> dict[str, Any]:
        """Return a workload of fixed lengths: 128 tokens in and 64 out."""
        given, new = (16, 6) if self.small else (128, 64)
        return {
            "name": "fixed", "input_tokens": given, "output_tokens": new, "batch_size": batch,
            "requests": requests or batch,
        }  # fmt: skip

    def config(self, model: Mapping[str, Any], name: str = "gpu-check", **more: Any) -> Path:
        """Write a config of these settings, and return its path."""
        content: dict[str, Any] = {
            "name": name, "model": dict(model), "runtime": self.runtime,
            "workload": self.workload(requests=8), "price": dict(self.price), "drift": {"tokens": 0}, **more,
        }  # fmt: skip
        if self.small:  # the times of a small run say nothing, so a busy machine does not matter
            little = {"max_disturbance": 1.0, "processes": 2, "max_rounds": 1}
            content["measure"] = {**little, **content.get("measure", {})}
        path = self.out / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    def left_s(self) -> float:
        """Return the seconds that the part still has. Raises TookTooLong if it has none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TookTooLong
        return left

    def bench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``bench`` with this interpreter. Raises TookTooLong at the part's deadline."""
        command = [sys.executable, "-m", "bench", *arguments]
        try:
            return subprocess.run(
                command, cwd=ROOT, env=environment(), text=True, capture_output=True, timeout=self.left_s()
            )
        except subprocess.TimeoutExpired:
            raise TookTooLong from None

    def run(self, config: Path, *arguments: str) -> dict[str, Any]:
        """Run a config and return its ``run.json``, failed rows included. Raises RuntimeError without one."""
        out = self.out / "runs"
        before = set(out.glob("*/run.json"))
        ended = self.bench("run", str(config), "--out", str(out), "-q", *arguments)
        made = sorted(set(out.glob("*/run.json")) - before)
        if not made:
            raise RuntimeError(f"bench run gave no result (exit {ended.returncode}): {ended.stderr[-600:]}")
        found: dict[str, Any] = json.loads(made[-1].read_text(encoding="utf-8"))
        found["directory"] = str(made[-1].parent)
        return found


def environment() -> dict[str, str]:
    """Return the environment of the children: this clone first, then what is on PYTHONPATH."""
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}


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
        from bench.measure.fresh_pair import prompts_of
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
