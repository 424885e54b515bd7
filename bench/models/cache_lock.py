"""Hold the lock of an entry of the cache, and say in one sentence why nothing can be kept there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from bench.errors import BenchError
from bench.formatting import MIB

FULL_BYTES = MIB  # a disk with less free space is full: what a child wants to write is larger
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def locked(doing: str, entry: Path) -> Iterator[None]:
    """Make the directory of ``entry`` if there is none, and hold the lock of the entry during the block.

    Only one process holds it, and others wait. Raises BenchError for a directory that cannot be made or
    written, a full disk or a file system without locks, in the block too: "cannot DOING in DIRECTORY: ...".
    """
    with writing(doing, entry.parent):
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(f"{entry}.lock"):
            yield


@contextmanager
def writing(doing: str, directory: Path) -> Iterator[None]:
    """Turn what keeps the block from writing to a directory of the cache into a BenchError. If a child of it
    failed and the disk is full now, say so: pip within ``venv`` does not."""
    try:
        yield
    except BenchError as bad:
        if type(bad) is not BenchError or not _is_full(directory):
            raise
        raise BenchError(f"{bad}\n  no space is left in {directory}: free some, or set BENCH_CACHE") from bad
    except OSError as bad:
        said = f"cannot {doing} in {directory}: {bad.strerror or bad}"
        if bad.errno in NO_ROOM:
            raise BenchError(f"{said}; free some space, or set BENCH_CACHE") from bad
        raise BenchError(f"{said}; set BENCH_CACHE to a directory that can be written") from bad


def _is_full(directory: Path) -> bool:
    try:
        return shutil.disk_usage(directory).free < FULL_BYTES
    except OSError:
        return False
