"""Allow one harness at a time on a GPU, whoever runs it and wherever its results go.

A GPU's lock is a file in the machine's temporary directory, which every user shares, named by the GPU's UUID.
The lock is the kernel's (``flock``) and ends with its holder. Nothing is ever written to the file, so a lock
works in a file that another user made, and a file that somebody put there can do no harm; filelock, which the
other locks use, creates the file each time, and Linux forbids that in a directory that all users share
(``fs.protected_regular``). Who holds a lock is read from ``/proc/locks``.

Containers with a ``/tmp`` of their own do not see each other's locks. There the driver's list of processes
(``bench/machine/gpu_watch.py``) is what notices a neighbour.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bench.bounded import read_bounded
from bench.errors import BenchError
from bench.store.files import naming
from bench.store.lock import MACHINE_LOCK, NO_MACHINE_LOCK

SHARED = Path("/tmp")
MOST_LOCKS = 4_000_000


@contextmanager
def device_locks(names: Sequence[str], tell: Callable[[str], None]) -> Iterator[None]:
    """Hold these GPUs for this process; the order is the same for everybody, so no two wait for each other.

    While somebody else holds one, this waits for it, after one call of ``tell``. The environment variable
    ``BENCH_MACHINE_LOCK=none`` takes no lock. Raises BenchError if a file of that name is no plain file.
    """
    with ExitStack() as held:
        for name in sorted(set(names)) if os.environ.get(MACHINE_LOCK) != NO_MACHINE_LOCK else ():
            held.enter_context(_held(name, tell))
        yield


@contextmanager
def _held(name: str, tell: Callable[[str], None]) -> Iterator[None]:
    path = SHARED / f"inference-cost-bench-{re.sub('[^A-Za-z0-9-]', '_', name)}.lock"
    descriptor = _opened(path)
    try:
        if not _taken(descriptor):
            tell(
                f"waiting for {_holder(descriptor)}, which measures on this GPU; two would disturb each other"
            )
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # Ctrl-C ends the wait
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the lock's file, and make it first if needed, readable for all. Links are not followed."""
    with naming("lock", path):
        with suppress(FileExistsError):
            made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            os.fchmod(made, 0o444)  # whatever the umask is
            return made
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise BenchError(f"{path} is no plain file, so this GPU cannot be locked; remove it")
    return descriptor


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    """Say who holds the lock, from the kernel's list; a process outside of this container has no number."""
    inode = os.fstat(descriptor).st_ino
    with suppress(OSError):
        for line in read_bounded(Path("/proc/locks"), MOST_LOCKS).decode().splitlines():
            words = line.split()
            if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == str(inode) and words[4] != "0":
                return f"process {words[4]}"
    return "another process"
