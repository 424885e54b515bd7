"""Directories in each other, more of them than Python calls functions in each other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEPTH = 1500  # with one letter each, a path within what a system call takes
TOO_DEEP = 3000  # and beyond it


@contextmanager
def nested(root: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Make directories called ``a`` in each other, with a file in the last one; yield the first. What is left
    of them is deleted at the end, which pytest could not do."""
    place = os.open(root, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir("a", dir_fd=place)
            inner = os.open("a", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = inner
        os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    finally:
        os.close(place)
    try:
        yield root / "a"
    finally:
        subprocess.run(["rm", "-rf", str(root / "a")], check=True)
