"""The child processes of a fetch: run one, watch it, hear its last words."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.formatting import printable

CHILD_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
OUR_PACKAGE = {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
POLL_S = 0.2


def run_child(
    command: Sequence[str], environment: Mapping[str, str], watch: Callable[[], None]
) -> tuple[int, str]:
    """Run a child to its end, calling ``watch`` now and then; its exit status and what it said on stderr."""
    with subprocess.Popen(
        command,
        env=dict(environment),
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
    """Bytes of all files below a directory in which another process is writing."""
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def last_words(said: str) -> str:
    """The last lines of a child's stderr, fit for a message."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return printable(" / ".join(lines[-3:]))[-500:] or "nothing"
