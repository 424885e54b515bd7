"""Allow one harness at a time in a run's directory, in the files of a commit, and per user on a machine.

All locks are the kernel's (``flock``), so each ends with the process that holds it, in whatever way that
process ends. A file next to the lock has the id of this process, for the message to a second harness.

A second harness waits for the machine and for the files of a commit, but it gets an error for a directory in
use. A process takes the machine first, then the directory, then the commits, always in one order, so no two
harnesses can wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from bench.bounded import read_bounded
from bench.errors import BenchError, UsageError
from bench.store.files import naming, write_atomic

LOCK_NAME = ".lock"
HOLDER_NAME = ".lock.pid"
MACHINE_LOCK = "BENCH_MACHINE_LOCK"  # this environment variable names another file, or is ``none``
NO_MACHINE_LOCK = "none"
MACHINE_LOCK_NAME = "machine.lock"
WHY_WAITED = f"two would disturb each other ({MACHINE_LOCK}={NO_MACHINE_LOCK} takes no lock)"
SHARED = Path("/tmp")
POLL_S = 0.2


@contextmanager
def run_lock(directory: Path) -> Iterator[str | None]:
    """Hold ``directory`` for this process.

    Yields None, or a notice if the last holder died without releasing it. Raises UsageError if the directory
    is in use (with the holder's process id) or does not exist (filelock would create it), and BenchError if
    it cannot be locked.
    """
    if not directory.is_dir():
        raise UsageError(f"no run directory at {directory}")
    holder = directory / HOLDER_NAME
    lock = FileLock(directory / LOCK_NAME)
    if not _acquired(lock, directory, timeout_s=0):
        raise UsageError(f"{directory} is in use by {_living(holder)}; wait for it to end")
    with _signed(lock, holder, _notice(directory, holder)) as notice:
        yield notice


def holder_of(directory: Path) -> str | None:
    """Return who holds ``directory`` at this moment, as a phrase such as ``process 17``; None if nobody does.

    Nothing is written, so this also works for a directory of somebody else.
    """
    try:
        held = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _living(directory / HOLDER_NAME)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(held)
    return None


@contextmanager
def machine_lock(tell: Callable[[str], None]) -> Iterator[None]:
    """Hold this machine for this process, so that no other harness of this user disturbs its measurements.

    If another harness holds the machine, this calls ``tell`` once, with a sentence that names the other's
    process id, and then waits as long as needed. Ctrl-C ends the wait with a KeyboardInterrupt.

    The lock's file is inside ``/tmp``, in a directory that only this user may enter: a job may have a
    temporary directory of its own (``TMPDIR``), and is on the same machine nevertheless. The
    environment variable ``BENCH_MACHINE_LOCK`` names another file, for example one for each half of a machine
    with two GPUs; with ``none`` no lock is taken. Raises BenchError if the file cannot be locked, or if
    another user could lock it.
    """
    file = machine_lock_file()
    if file is None:
        yield
        return
    with _waited(file, f"which measures on this machine; {WHY_WAITED}", tell):
        yield


@contextmanager
def sides_lock(homes: Iterable[Path], tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the files and environments of commits in the cache, by their directories, while they are measured
    or built: what one gate deletes there, another one may be using. Two gates have different machine locks
    where ``BENCH_MACHINE_LOCK`` says so, or in two containers that share a cache. This waits as
    ``machine_lock`` does."""
    with ExitStack() as held:
        for home in sorted(set(homes)):
            why = "which uses the files of the same commit"
            held.enter_context(_waited(home.with_name(f"{home.name}.use"), why, tell))
        yield


@contextmanager
def _waited(file: Path, why: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock. If another process has it, call ``tell`` once, with its id and ``why``, and wait."""
    holder = Path(f"{file}.pid")
    lock = FileLock(file)
    # Try for a moment before calling ``tell``: a holder that has just begun must first write its process id.
    if not _acquired(lock, file, timeout_s=POLL_S):
        tell(f"waiting for {_living(holder)}, {why}")
        _acquired(lock, file, timeout_s=-1)
    with _signed(lock, holder):
        yield


def machine_lock_file() -> Path | None:
    """Return the file whose lock is that of this machine; None if no lock is to be taken."""
    named = os.environ.get(MACHINE_LOCK)
    if named == NO_MACHINE_LOCK:
        return None
    if not named:
        return _own_directory() / MACHINE_LOCK_NAME
    try:
        return Path(named).expanduser()
    except RuntimeError:  # ~NAME of a user who does not exist
        raise UsageError(f"{MACHINE_LOCK}={named}: there is no such home directory") from None


def _own_directory() -> Path:
    """Return this user's own directory inside the directory of temporary files that all processes share, and
    create it if needed.

    Anybody may write there. A link, or a directory of another user, is an error, because
    its owner could hold this user's lock forever.
    """
    shared = SHARED if os.access(SHARED, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    place = shared / f"inference-cost-bench-{os.getuid()}"
    with naming("make", place):
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        status = place.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    if not ours:
        raise BenchError(
            f"{place} is not a directory that only this user may enter, so no lock of this machine can be in "
            f"it; remove it, or name another file: {MACHINE_LOCK}=FILE"
        )
    return place


def _acquired(lock: FileLock, path: Path, *, timeout_s: float) -> bool:
    """Try to take the lock within ``timeout_s`` (−1: no limit), and return whether that succeeded."""
    with naming("lock", path):
        try:
            lock.acquire(timeout=timeout_s, poll_interval=POLL_S)
        except Timeout:  # it is also an OSError, so it must be caught before ``naming`` sees it
            return False
    return True


@contextmanager
def _signed(lock: FileLock, holder: Path, notice: str | None = None) -> Iterator[str | None]:
    """Write this process's id to ``holder``; at the end remove that file and release the lock."""
    try:
        write_atomic(holder, f"{os.getpid()}\n")
        yield notice
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _pid(holder: Path) -> int | None:
    """Return the process id in the file ``holder``; None if it has none or cannot be read."""
    try:
        text = read_bounded(holder, 32, follow=False)
    except OSError:
        return None
    return int(text) if re.fullmatch(rb"[1-9][0-9]{0,9}\n", text) else None


def _living(holder: Path) -> str:
    """Return who holds the lock; right after a lock changes hands, the file may still name a dead process."""
    pid = _pid(holder)
    return f"process {pid}" if pid is not None and psutil.pid_exists(pid) else "another process"


def _notice(directory: Path, holder: Path) -> str | None:
    """Return a notice if ``holder`` exists although the lock was free, so its process did not release it."""
    if not holder.exists():
        return None
    pid = _pid(holder)
    who = "a process" if pid is None else f"process {pid}"
    return f"took over {directory} from {who}, which ended without releasing it"
