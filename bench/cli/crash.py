"""Report an unexpected error: a short message for the user, and a file with the traceback for an issue."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

import bench
from bench.formatting import one_line


def report_crash(error: BaseException) -> str:
    """Write the traceback to a private temporary file, and return the message for the user."""
    what = one_line(str(error)[:300])  # it may hold a name from anywhere
    said = f"bench: unexpected {type(error).__name__}: {what}\nThis is a bug. "
    try:
        traced = "".join(traceback.format_exception(error))
        where = _kept(f"inference-cost-bench {bench.__version__}\n{traced}")
    except OSError as bad:  # if it were raised, the exit code would be 1, which means FAIL for a gate
        return f"{said}Its traceback could not be kept ({bad.strerror}): set TMPDIR to another directory."
    return f"{said}The traceback is in {where}; please attach it to an issue."


def _kept(text: str) -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="bench-crash-", suffix=".log", delete=False) as file:
        file.write(text)
    return Path(file.name)
