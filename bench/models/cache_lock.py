"""Hold the lock of an entry of the cache, and say in one sentence why nothing can be kept there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from bench.errors import BenchError


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
    """Turn what keeps the block from writing to a directory of the cache into a BenchError."""
    try:
        yield
    except OSError as bad:
        said = f"cannot {doing} in {directory}: {bad.strerror or bad}"
        raise BenchError(f"{said}; free some space, or set BENCH_CACHE") from bad
