"""An engine for tests: ``fake.plan`` in the model's directory says how long things take and what breaks.

``prefill_ns``, ``step_ns``: durations, over and over, on a clock that nothing else moves. ``facts``: laid
over what the engine reports; ``loaded: environment`` there reports the variables that its process has.
``diverge_at``, ``finite``: see FakeEngine. ``faults``: each ``{"at": method, "call": n, "do": what, "once":
bool}`` breaks the n-th call (the first) of a method; with ``once`` only in the first process that gets there,
with ``later`` only in those that come after it.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_engine import DataClock, FakeEngine

from bench.engine import Options, progress
from bench.records import Facts
from bench.worker import duet, passes

REQUIRES = ()


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


def load(directory: Path, options: Options) -> BreakableEngine:
    settings = json.loads((directory / "fake.plan").read_text())
    clock = DataClock()
    passes.perf_counter_ns = duet.perf_counter_ns = clock  # type: ignore[attr-defined]
    engine = BreakableEngine(directory, settings.pop("faults", []), clock, options, settings)
    engine.reach("load")
    return engine


class BreakableEngine(FakeEngine):
    def __init__(
        self,
        directory: Path,
        faults: list[Any],
        clock: DataClock,
        options: Options,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__(clock, options=options, **settings)
        self._directory, self._faults, self._calls = directory, faults, Counter[str]()

    def reach(self, method: str) -> None:
        """One call of ``method``: breaks if a fault says so."""
        self._calls[method] += 1
        for fault in self._faults:
            if (fault["at"], fault.get("call", 1)) == (method, self._calls[method]) and self._first(fault):
                BREAK[fault["do"]](fault)

    def _first(self, fault: Mapping[str, Any]) -> bool:
        marker = self._directory / "broken-once"
        if fault.get("later"):
            return marker.exists()
        if not fault.get("once"):
            return True
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def facts(self) -> Facts:
        found = super().facts()
        return replace(found, loaded=json.dumps(dict(os.environ))) if found.loaded == "environment" else found

    def encode(self, text: str) -> list[int]:
        self.reach("encode")
        return super().encode(text)

    def prefill(self, prompts: Any, new_tokens: int) -> list[list[int]]:
        self.reach("prefill")
        return super().prefill(prompts, new_tokens)

    def step(self, generation: Any) -> None:
        self.reach("step")
        super().step(generation)

    def tokens(self, generation: Any) -> list[list[int]]:
        self.reach("tokens")
        return super().tokens(generation)


def _raise(fault: Mapping[str, Any]) -> None:
    kinds = {kind.__name__: kind for kind in (ValueError, ImportError, MemoryError, OutOfMemoryError)}
    raise kinds[fault["kind"]](fault.get("text", "planted"))


def _hang(fault: Mapping[str, Any]) -> None:
    """Takes an hour, which a file shows."""
    if "file" in fault:
        Path(fault["file"]).touch()
    time.sleep(3600)


def _deaf(fault: Mapping[str, Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _hang(fault)


def _grandchild(fault: Mapping[str, Any]) -> None:
    """Leaves a process behind whose parent is gone, and its id in a file. It is started by ``by``."""
    stay = f"echo $$ > {fault['file']}; exec sleep 3600"
    subprocess.run(["/bin/sh", "-c", f"{fault.get('by', '')} /bin/sh -c '{stay}' &"], check=True)


def _eat(_fault: Mapping[str, Any]) -> None:
    """Takes memory until there is no more."""
    eaten = []
    while True:
        eaten.append(bytearray(16 << 20))


def _tell_all(_fault: Mapping[str, Any]) -> None:
    """Says all that it can see, as a library may in an error."""
    print(dict(os.environ), flush=True)
    raise ValueError(f"request failed, headers: {dict(os.environ)}")


def _promise(fault: Mapping[str, Any]) -> None:
    """Says something, and leaves something to do for when the process ends."""
    print("so long", end="")
    atexit.register(Path(fault["file"]).touch)


def _say(fault: Mapping[str, Any]) -> None:
    """Writes to the harness out of turn: ``frame`` as it is, or ``json`` in a sound frame."""
    body = fault["json"].encode() if "json" in fault else b""
    data = bytes.fromhex(fault["frame"]) if "frame" in fault else struct.pack(">I", len(body)) + body
    os.write(int(sys.argv[1]), data)
    if fault.get("then_hang", True):
        _hang(fault)


BREAK: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "raise": _raise,
    "hang": _hang,
    "deaf": _deaf,
    "grandchild": _grandchild,
    "say": _say,
    "promise": _promise,
    "eat": _eat,
    "tell all": _tell_all,
    "progress": lambda fault: progress.say(str(fault["text"]), now=True),
    "segfault": lambda fault: ctypes.string_at(0),
    "kill": lambda fault: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda fault: os._exit(3),
    "leave": lambda fault: sys.exit("no more"),
}
