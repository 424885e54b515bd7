"""Walk through directories that somebody else made, and delete them, however deep they are.

A commit, a process or a stranger's archive may have thousands of directories in each other. Python 3.11 walks
and deletes by a call for each of them, ends with RecursionError, and leaves them behind.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path


def walk(
    root: Path, unreadable: Callable[[OSError], object] | None = None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield (directory, names of the directories in it, names of all else) for ``root`` and all below it.

    Links are among all else and are not followed. A caller may take names out of the first list, so that they
    are not looked into. ``unreadable`` gets the error of a directory that cannot be read, which is left out.
    """
    waiting = [root]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                kinds = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        except OSError as bad:
            if unreadable is not None:
                unreadable(bad)
            continue
        directories = [name for name, is_directory in kinds if is_directory]
        yield place, directories, [name for name, is_directory in kinds if not is_directory]
        waiting += [place / name for name in reversed(directories)]


def is_closed(place: Path) -> bool:
    """Return whether this is a directory into which this user may not look."""
    return os.path.isdir(place) and not os.access(place, os.X_OK)  # noqa: PTH112 - of names that cannot be


def files_below(root: Path) -> Iterator[Path]:
    """Yield the path of everything below a directory that is no directory: files, links and the rest."""
    for place, _directories, names in walk(root):
        for name in names:
            yield place / name


def delete(root: Path) -> None:
    """Delete a directory with all that is in it, as far as this user may. A link to one is left alone."""
    with suppress(RecursionError):
        shutil.rmtree(root, ignore_errors=True)
    if root.is_dir() and not root.is_symlink():  # too deep: for Python, or for the files that may be open
        _make_flat(root)
        shutil.rmtree(root, ignore_errors=True)


def delete_whole(root: Path) -> None:
    """Delete a directory, if there is one. Raises OSError for a link, and if something of it stays."""
    if root.is_symlink():  # whose error has no words of its own since Python 3.12
        raise OSError(errno.ELOOP, "it is a symbolic link", str(root))
    delete(root)
    if root.exists():
        shutil.rmtree(root)


def _make_flat(root: Path) -> None:
    """Move all directories below ``root`` into it, so that no path becomes too long."""
    waiting = _directories_in(root)
    while waiting:
        for inner in _directories_in(waiting.pop()):
            with suppress(OSError):
                waiting.append(inner.rename(root / secrets.token_hex(8)))


def _directories_in(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as found:
            return [Path(entry.path) for entry in found if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
