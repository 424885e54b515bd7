"""Allow one harness at a time in a run's directory.

The lock is the kernel's (``flock`` on ``.lock``), so it ends with its holder, however that ends. The holder's
process id is in ``.lock.pid``, for the message to a second harness.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from bench.errors import UsageError
from bench.store.files import naming, write_atomic

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock.pid"


@contextmanager
def run_lock(directory: Path) -> Iterator[str | None]:
    """Hold ``directory`` for this process.

    Yields None, or a notice if the last holder died without releasing it. Raises UsageError with the holder's
    process id if the directory is in use, or with the directory if it does not exist (filelock would make
    it); BenchError if it cannot be locked.
    """
    if not directory.is_dir():
        raise UsageError(f"no run directory at {directory}")
    holder = directory / HOLDER_NAME
    lock = FileLock(directory / LOCK_NAME)
    with naming("lock", directory):
        try:
            lock.acquire(blocking=False)
        except Timeout:  # an OSError too, so caught first
            raise UsageError(f"{directory} is in use by {_living(holder)}; wait for it to end") from None
    try:
        notice = _notice(directory, holder)
        write_atomic(holder, f"{os.getpid()}\n")
        yield notice
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _pid(holder: Path) -> int | None:
    """Return the process id written in ``holder``, None if there is none to read."""
    try:
        with holder.open("rb") as file:
            text = file.read(32)
    except OSError:
        return None
    return int(text) if re.fullmatch(rb"[1-9][0-9]{0,9}\n", text) else None


def _living(holder: Path) -> str:
    """Say who holds the lock; for an instant after a take-over, the file may still name a dead process."""
    pid = _pid(holder)
    return f"process {pid}" if pid is not None and psutil.pid_exists(pid) else "another process"


def _notice(directory: Path, holder: Path) -> str | None:
    """Return a notice if ``holder`` exists although the lock was free: its process never released it."""
    if not holder.exists():
        return None
    pid = _pid(holder)
    who = "a process" if pid is None else f"process {pid}"
    return f"took over {directory} from {who}, which ended without letting go"
