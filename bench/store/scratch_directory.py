"""Directories for temporary files that go away even if the process that made them was killed.

A process that ends deletes its own. One that was killed (``kill -9``, no memory) leaves it behind, with
prompts and replies in it. The kernel's lock on the directory ends with the process, so the next process that
makes such a directory sees which ones belong to nobody, and deletes them.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.store.directories import delete

PREFIX = "bench-scratch-"
NEW = "bench-new-"  # how the name begins until the directory is locked


class ScratchDirectory:
    """A new directory among the temporary files of this system, which only this user may enter.

    ``purpose`` is a part of its name. It is locked until ``delete`` is called or this process has ended.
    """

    def __init__(self, purpose: str) -> None:
        _delete_left_behind(Path(tempfile.gettempdir()))
        new = Path(tempfile.mkdtemp(prefix=NEW))
        held = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
        self._held: int | None = held
        with suppress(OSError):  # a file system without locks: nobody can take this one there, either
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = new.rename(new.with_name(f"{PREFIX}{purpose}-{new.name.removeprefix(NEW)}"))

    def delete(self) -> None:
        """Delete the directory with all that is in it. A second call does nothing."""
        if self._held is not None:
            delete(self.path)
            os.close(self._held)
            self._held = None


@contextmanager
def scratch_directory(purpose: str) -> Iterator[Path]:
    """Give a ``ScratchDirectory``, and delete it at the end."""
    made = ScratchDirectory(purpose)
    try:
        yield made.path
    finally:
        made.delete()


def _delete_left_behind(place: Path) -> None:
    """Delete the directories of this user here that no process holds."""
    with suppress(OSError), os.scandir(place) as found:
        names = [entry.name for entry in found if entry.name.startswith(PREFIX)]
        for name in names:
            with suppress(OSError):
                _delete_if_free(place / name)


def _delete_if_free(directory: Path) -> None:
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(held).st_uid == os.getuid():
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            delete(directory)
    finally:
        os.close(held)
