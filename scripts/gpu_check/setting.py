"""What all parts share: where and how large they run, the configs that they write, and their time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
END_S = 25.0  # for a run that was told to end


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
        """Run the command ``bench`` with this interpreter. Raises TookTooLong at the part's deadline, when it
        is told to end and has written down what it has."""
        command = [sys.executable, "-m", "bench", *arguments]
        left_s = self.left_s()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            try:
                said = child.communicate(timeout=left_s)
            except subprocess.TimeoutExpired:
                _end(child)
                raise TookTooLong from None
            except BaseException:
                _end(child)
                raise
        return subprocess.CompletedProcess(command, child.returncode, *said)

    def run(self, config: Path, *arguments: str, partly: bool = False) -> dict[str, Any]:
        """Run a config and return its ``run.json``, failed rows included. Raises RuntimeError without one.

        At the deadline TookTooLong is raised; if ``partly``, what the run had by then is returned instead.
        """
        out = self.out / "runs"
        before = set(out.glob("*/run.json"))
        said = "ended at the deadline"
        try:
            ended = self.bench("run", str(config), "--out", str(out), "-q", *arguments)
            said = f"exit {ended.returncode}: {ended.stderr[-600:]}"
        except TookTooLong:
            if not partly:
                raise
        made = sorted(set(out.glob("*/run.json")) - before)
        if not made:
            raise RuntimeError(f"bench run gave no result ({said})")
        found: dict[str, Any] = json.loads(made[-1].read_text(encoding="utf-8"))
        found["directory"] = str(made[-1].parent)
        return found


def _end(child: subprocess.Popen[str]) -> None:
    """Tell a run to end, so that it ends its workers and writes its summary; kill it if it does not."""
    child.terminate()
    try:
        child.communicate(timeout=END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()


def environment() -> dict[str, str]:
    """Return the environment of the children: this clone first, then what is on PYTHONPATH, and compiled code
    where workers keep it, so that a plain loop and a worker need not compile the same kernels twice."""
    from bench.measure.worker_environment import compiled_here

    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1", "NO_COLOR": "1"}
    return {**os.environ, **compiled_here(os.environ), **ours}
