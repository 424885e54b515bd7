"""Allow one harness at a time in a run's directory, and one harness of a user at a time on a machine.

Both locks are the kernel's (``flock``), so each ends with its holder, however that ends. The holder's process
id is in a file beside the lock, for the message to a second harness.

A directory in use is refused; the machine is waited for. Whoever takes both takes the machine first, and no
other lock is waited for, so no two harnesses can wait for each other.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from bench.bounded import read_bounded
from bench.errors import BenchError, UsageError
from bench.store.files import naming, write_atomic

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock.pid"
MACHINE_LOCK = "BENCH_MACHINE_LOCK"  # the environment variable that names another file, or none
NO_MACHINE_LOCK = "none"
MACHINE_LOCK_NAME = "machine.lock"
POLL_S = 0.2


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
    if not _acquired(lock, directory, timeout_s=0):
        raise UsageError(f"{directory} is in use by {_living(holder)}; wait for it to end")
    with _signed(lock, holder, _notice(directory, holder)) as notice:
        yield notice


@contextmanager
def machine_lock(tell: Callable[[str], None]) -> Iterator[None]:
    """Hold this machine for this process, so that no other harness of this user disturbs what it measures.

    While another one holds the machine, this waits for it, as long as it takes, after one call of ``tell``
    with a sentence that names its process id. Ctrl-C ends the wait with a KeyboardInterrupt.

    The lock lies in the temporary directory, in a directory that only this user may enter. The environment
    variable ``BENCH_MACHINE_LOCK`` names another file, for example one for each half of a machine with two
    GPUs; ``none`` takes no lock. Raises BenchError if the file cannot be locked, or if another user could
    lock it.
    """
    file = machine_lock_file()
    if file is None:
        yield
        return
    holder = Path(f"{file}.pid")
    lock = FileLock(file)
    # The first attempt takes a moment, in which a holder that has just begun writes its process id.
    if not _acquired(lock, file, timeout_s=POLL_S):
        tell(f"waiting for {_living(holder)}, which measures on this machine; two would disturb each other")
        _acquired(lock, file, timeout_s=-1)
    with _signed(lock, holder):
        yield


def machine_lock_file() -> Path | None:
    """Return the file that stands for this machine; None if no lock is wanted."""
    named = os.environ.get(MACHINE_LOCK)
    if named == NO_MACHINE_LOCK:
        return None
    if not named:
        return _own_directory() / MACHINE_LOCK_NAME
    try:
        return Path(named).expanduser()
    except RuntimeError:  # ~NAME of nobody
        raise UsageError(f"{MACHINE_LOCK}={named}: there is no such home directory") from None


def _own_directory() -> Path:
    """Return the directory in the temporary one that belongs to this user alone, and make it first if needed.

    Anybody may write to the temporary directory: what another user put there, a link or a directory, is
    refused, because its owner could hold this user's lock for good.
    """
    place = Path(tempfile.gettempdir()) / f"inference-cost-bench-{os.getuid()}"
    with naming("make", place):
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        found = place.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    if not ours:
        raise BenchError(
            f"{place} is not a directory that only this user may enter, so no lock of this machine can be in "
            f"it; remove it, or name another file: {MACHINE_LOCK}=FILE"
        )
    return place


def _acquired(lock: FileLock, path: Path, *, timeout_s: float) -> bool:
    """Return whether the lock could be taken within ``timeout_s``; -1 is for however long it takes."""
    with naming("lock", path):
        try:
            lock.acquire(timeout=timeout_s, poll_interval=POLL_S)
        except Timeout:  # an OSError too, so caught first
            return False
    return True


@contextmanager
def _signed(lock: FileLock, holder: Path, notice: str | None = None) -> Iterator[str | None]:
    """Name this process as the holder of a lock, and let go of both at the end."""
    try:
        write_atomic(holder, f"{os.getpid()}\n")
        yield notice
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _pid(holder: Path) -> int | None:
    """Return the process id written in ``holder``, None if there is none to read."""
    try:
        text = read_bounded(holder, 32, follow=False)
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
