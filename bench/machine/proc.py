"""Reading what belongs to somebody else in /proc: it may be gone between the listing and the reading.

A thread ends, a child is reaped: then the file cannot be opened, the read fails or the text is empty, and
each of these means "gone", not an error. Standard library only: the worker reads with this, too.
"""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str | None:
    """The text of a small system file, None where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def numbers_in(path: Path) -> list[int]:
    """Whole numbers in a file of nothing else, such as a task's ``children`` or ``statm``; none when it is
    gone."""
    return [int(word) for word in (text_of(path) or "").split() if word.isdecimal()]


def entries(directory: Path) -> list[Path]:
    """What is in a directory that may itself be gone, such as ``/proc/PID/task``."""
    try:
        return list(directory.iterdir())
    except OSError:
        return []
