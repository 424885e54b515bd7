"""Report an unexpected error: a short message for the user, and the traceback in a file for an issue."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path

import bench


def report_crash(error: BaseException) -> str:
    """Write the traceback to a private temporary file and return the message to print."""
    with tempfile.NamedTemporaryFile("w", prefix="bench-crash-", suffix=".log", delete=False) as file:
        file.write(f"inference-cost-bench {bench.__version__}\n{''.join(traceback.format_exception(error))}")
    return (
        f"bench: unexpected {type(error).__name__}: {str(error)[:300]}\n"
        f"This is a bug. The traceback is in {Path(file.name)}; please attach it to an issue."
    )
