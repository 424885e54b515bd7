"""Run the child processes of a fetch, watch them, and read their error messages."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.formatting import printable
from bench.machine.children import NOWHERE, SAFE

# Where the child finds this package, if it is not installed. ``PYTHONPATH`` of the user is not handed on.
OUR_PACKAGE = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
POLL_S = 0.2


def run_child(
    arguments: Sequence[str], environment: Mapping[str, str], watch: Callable[[], None]
) -> tuple[int, str]:
    """Run this Python with ``arguments`` to its end, and call ``watch`` every 0.2 s. Return its exit status
    and its stderr. The child imports nothing from the directory in which the user stands."""
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
            while True:
                watch()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    said = child.communicate(timeout=POLL_S)[1]
                    return child.returncode, said
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
