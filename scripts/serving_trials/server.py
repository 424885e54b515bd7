"""Start one server for a measurement, on processors of its own, and ask vLLM's for its own counters."""

from __future__ import annotations

import os
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import plugins
from bench.serving.engines import ADAPTERS
from bench.serving.engines.adapter import Launch
from bench.serving.environments import interpreter_for
from bench.serving.pinning import apart, threads_in
from bench.serving.server import free_port
from bench.serving.target import Manner, Target, begun, weights

WAIT_S = 600.0
_SAMPLE = re.compile(r"^(vllm:\w+_(?:sum|count|total))(?:\{.*\})? (\d\S*)$", re.MULTILINE)


@contextmanager
def serving(
    engine: str, model: str, arguments: tuple[str, ...], log: Path, pin: bool = True
) -> Iterator[Target]:
    """Start an engine of `bench load` on all processors but the last, and stop it at the end.

    This process, and what it starts, stay on the last processor meanwhile (unless ``pin`` is false).
    """
    adapter = ADAPTERS[engine]
    served = weights(model, gguf=engine == "llama-cpp-server")
    with apart(pin, threads_in(arguments)) as cores:
        own = cores.told(plugins.load("runtimes", engine).FLAGS.get("threads"), arguments)
        launch = Launch(str(served), free_port(), interpreter_for(adapter, None), (*own, *arguments))
        log.parent.mkdir(parents=True, exist_ok=True)
        with begun(adapter, launch, log, WAIT_S, Manner()) as target:
            cores.go()
            print(f"{adapter.title}: healthy after {target.head['ready_s']:.0f} s", flush=True)
            yield target


def pids(target: Target) -> list[int]:
    """Return the processes of a server that was started here."""
    return target.server.pids() if target.server else []


def counters(netloc: str) -> dict[str, float]:
    """Return the counters of vLLM by name, summed over their labels; buckets of histograms are left out."""
    with urllib.request.urlopen(f"http://{netloc}/metrics", timeout=30) as reply:
        text = reply.read().decode()
    found: dict[str, float] = defaultdict(float)
    for name, value in _SAMPLE.findall(text):
        found[name.removeprefix("vllm:")] += float(value)
    return dict(found)


def since(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return by how much each counter has risen; those that stood still are left out."""
    risen = {name: value - before.get(name, 0.0) for name, value in after.items()}
    return {name: value for name, value in risen.items() if value}


def processors() -> list[int]:
    """Return the processors that this process may use now."""
    return sorted(os.sched_getaffinity(0))
