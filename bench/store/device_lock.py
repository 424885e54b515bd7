"""Allow only one harness at a time on a GPU, for all users and all results directories of a machine.

A GPU's lock is a file in the machine's temporary directory, which all users share, named by the GPU's UUID.
The lock itself is the kernel's (``flock``) and ends with the process that holds it. Nothing is ever written
to the file, so it does not matter which user made it or what is in it. The other locks use filelock, which
opens the file with O_CREAT each time; Linux forbids that for another user's file in a shared directory
(``fs.protected_regular``). The holder of a lock is read from ``/proc/locks``.

Containers with their own ``/tmp`` do not see each other's locks. In this case the driver's list of processes
(``bench/machine/gpu_watch.py``) shows that another process uses the GPU.
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
from bench.store.run_lock import MACHINE_LOCK, NO_MACHINE_LOCK, SHARED, WHY_WAITED

MOST_LOCKS = 4_000_000


@contextmanager
def device_locks(names: Sequence[str], tell: Callable[[str], None]) -> Iterator[None]:
    """Hold these GPUs for this process.

    If another process holds one of them, this calls ``tell`` once and waits. All processes take the locks in
    the same order, so no two can wait for each other. With the environment variable
    ``BENCH_MACHINE_LOCK=none`` no lock is taken. Raises BenchError if the lock's file is not a plain file.
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
            tell(f"waiting for {_holder(descriptor)}, which measures on this GPU; {WHY_WAITED}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # Ctrl-C ends the wait
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    """Open the lock's file without following links; create it, readable for all, if it does not exist."""
    with naming("lock", path):
        with suppress(FileExistsError):
            made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
            os.fchmod(made, 0o444)  # the umask may have removed some of these permissions
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
    """Return who holds the lock, from the kernel's list, where processes outside this container are 0."""
    inode = os.fstat(descriptor).st_ino
    with suppress(OSError):
        for line in read_bounded(Path("/proc/locks"), MOST_LOCKS).decode().splitlines():
            words = line.split()
            if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == str(inode) and words[4] != "0":
                return f"process {words[4]}"
    return "another process"
