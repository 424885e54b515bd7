"""Say of what a worker died that left without a reply: its exit code, its log and the limits tell."""

from __future__ import annotations

import re
import resource
import signal
from pathlib import Path

from bench.bounded import tail
from bench.errors import Outcome, VariantFailed
from bench.formatting import format_mib

# What SIGILL means, mostly of an engine that was compiled for another processor.
REFUSED = ": a library has instructions that this machine refuses (bench env remove and make compile it here)"
KILLED = "killed by the system, most likely out of memory"
# What libraries in C++ and in Rust say when they are refused memory, before they end their process.
_NO_MEMORY = re.compile(rb"bad_alloc|memory allocation of \d+ bytes failed")


def failure_of(code: int, log: Path, memory_limit: int | None) -> VariantFailed:
    """Return the failure of a worker with this exit code (minus the number of a signal) and this log.

    ``memory_limit`` is the ``measure.memory_limit`` in bytes, if there is one.
    """
    words = tail(log, 400).decode(errors="replace").strip().splitlines()
    last = f"; its last words: {words[-1][:200]}" if words else ""
    if (limit := _processor_seconds()) is not None and code in (-signal.SIGKILL, -signal.SIGXCPU):
        return VariantFailed(Outcome.RUN_ERROR, _of_the_limit(code, limit))
    if code == -signal.SIGKILL:
        return VariantFailed(Outcome.OOM_HOST, KILLED)
    if refused := _NO_MEMORY.search(tail(log, 4000)):
        said = f"a library was refused memory: {refused[0].decode()}"
        if memory_limit is not None:
            said = f"more memory than measure.memory_limit, {format_mib(memory_limit)} MiB"
        return VariantFailed(Outcome.OOM_HOST, said)
    if code < 0:
        name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
        why = REFUSED if code == -signal.SIGILL else ""
        return VariantFailed(Outcome.SEGFAULT, f"the worker died of {name}{why}{last}")
    return VariantFailed(Outcome.RUN_ERROR, f"the worker left with exit code {code}{last}")


def _processor_seconds() -> int | None:
    """Return how long a process of this shell may use a processor; None if as long as it likes."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_CPU)
    return None if soft == resource.RLIM_INFINITY else soft


def _of_the_limit(code: int, limit: int) -> str:
    """Name the limit. The kernel sends SIGKILL for it too, and then does not say which of the two it was."""
    allowed = f"the {limit} s of processor time that a process may use here (ulimit -t)"
    if code == -signal.SIGXCPU:
        return f"the worker has used {allowed}"
    return f"killed by the system: the worker has used {allowed}, or memory ran out"
