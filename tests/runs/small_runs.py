"""A small config of fake models, for whole runs that are killed, filled up or spied on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from fakes import RUNTIMES, fake_model, interpreter

MS = 1_000_000
ONE_PAIR = {"processes": 1, "max_rounds": 1}
# A command line that knows the runtime ``fake``: its first two arguments are directories.
PROGRAM = (
    "import sys, bench.runtimes\n"
    "sys.path.insert(0, sys.argv.pop(1))\n"
    "bench.runtimes.__path__.append(sys.argv.pop(1))\n"
    "from bench.__main__ import main\n"
    "main()\n"
)
Faults = tuple[Mapping[str, object], ...]


def command(*arguments: object) -> list[str]:
    """``bench`` with these arguments, in a process of its own."""
    known = (RUNTIMES.parent, RUNTIMES)
    return [sys.executable, "-c", PROGRAM, *map(str, (*known, *arguments))]


def small_config(place: Path, variants: Mapping[str, Faults], base: Faults = (), **more: Any) -> Path:
    """The file of a config with a baseline of 2 ms a step; every variant takes 1 ms, and has its faults."""
    place.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "name": name,
            "model": {"path": str(fake_model(place / name, *its, prefill_ns=[MS], step_ns=[MS]))},
        }
        for name, its in variants.items()
    ]
    shared = {} if "gate" in more else {"design": "steps"}  # what a step takes is exact in turns alone
    content = {
        "name": "small",
        "model": {"path": str(fake_model(place / "base", *base, prefill_ns=[MS], step_ns=[2 * MS]))},
        "runtime": {"name": "fake", "threads": 1, "python": str(interpreter(place))},
        "workload": {"name": "chat", "requests": 2, "output_tokens": 3},
        "variants": rows,
        "price": {"hardware": "cloud-2vcpu-8gb"},
        **more,
        "measure": {
            **ONE_PAIR,
            "timeout_s": 20.0,
            "max_disturbance": 1.0,
            **shared,
            **more.get("measure", {}),
        },
    }
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    return file
