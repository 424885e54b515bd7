"""Run the child processes of a fetch, watch them, and read their error messages."""

from __future__ import annotations

import contextlib
import math
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.formatting import printable
from bench.machine.children import NOWHERE, SAFE

# Where the child finds this package, if it is not installed. ``PYTHONPATH`` of the user is not handed on.
OUR_PACKAGE = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
POLL_S = 0.2


@dataclass(frozen=True)
class Limits:
    """What a child may take: seconds, and bytes of memory."""

    seconds: float
    memory_bytes: int


def run_child(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    watch: Callable[[], None],
    limits: Limits | None = None,
) -> tuple[int, str]:
    """Run this Python with ``arguments`` to its end, and call ``watch`` every 0.2 s. Return its exit status
    and its stderr. The child imports nothing from the directory in which the user stands.

    Raises BenchError if it takes more than its ``limits`` in seconds; more memory is refused to it.
    """
    with subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env={**environment, **SAFE},
        cwd=NOWHERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        try:
            if limits is not None:
                bound = (limits.memory_bytes, limits.memory_bytes)
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    resource.prlimit(child.pid, resource.RLIMIT_DATA, bound)
            seconds = math.inf if limits is None else limits.seconds
            waited = 0.0
            while True:
                if waited > seconds:
                    raise BenchError(f"it took more than {seconds:.0f} s, and was ended")
                watch()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    said = child.communicate(timeout=POLL_S)[1]
                    return child.returncode, said
                waited += POLL_S
        finally:
            child.kill()


def size_on_disk(directory: Path) -> int:
    """Return the bytes of all files below a directory in which another process is writing."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def last_words(said: str) -> str:
    """Return the last lines of a child's stderr, suitable for an error message."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return printable(" / ".join(lines[-3:]))[-500:] or "nothing"
