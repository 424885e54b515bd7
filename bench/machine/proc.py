"""Read /proc entries of other processes, which can disappear between listing and reading.

If a thread has ended or a child was reaped, the file cannot be opened, the read fails or the text is empty.
Each of these means "gone" and is not an error. Standard library only, because the worker uses this file too.
"""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str | None:
    """Return the text of a small system file, or None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def numbers_in(path: Path) -> list[int]:
    """Return the whole numbers in a file such as a task's ``children`` or ``statm``; none if it is gone."""
    return [int(word) for word in (text_of(path) or "").split() if word.isdecimal()]


def entries(directory: Path) -> list[Path]:
    """List a directory that may have disappeared, such as ``/proc/PID/task``."""
    try:
        return list(directory.iterdir())
    except OSError:
        return []
