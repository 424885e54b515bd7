"""Kernels that PyTorch builds at first use, behind a lock that a killed process may have left.

``torch.utils.cpp_extension`` makes a file ``lock`` in the directory of a build, and holds it open until the
build has ended. Whoever finds the file waits until it is gone. If the builder was killed, that is for ever.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from bench.errors import Outcome, VariantFailed
from bench.machine.proc import is_open

ALONE_S = 2.0  # a lock is closed a moment before it is deleted


def watch() -> None:
    """Let a build in this process fail, with the reason, that would wait for a lock which nobody holds.

    Without PyTorch there is nothing to watch. The file is not deleted: whoever reads the reason knows whether
    a process of another container is building.
    """
    if "torch" not in sys.modules:
        return
    try:
        from torch.utils.file_baton import FileBaton
    except ImportError:  # a PyTorch that builds in another way has another lock
        return
    FileBaton.wait = _wait


def _wait(baton: Any) -> None:
    """Wait until a lock is gone. Raises VariantFailed if no process has had it open for ``ALONE_S``."""
    lock, held = Path(baton.lock_file_path), time.monotonic()
    while lock.exists():
        if is_open(lock) is not False:
            held = time.monotonic()
        elif time.monotonic() - held > ALONE_S:
            raise VariantFailed(
                Outcome.LOAD_ERROR,
                f"a build of kernels would wait for ever: its lock {lock.resolve()} was left by a process "
                "that has ended, and no process holds it; if nobody builds there, delete that file",
            )
        time.sleep(baton.wait_seconds)
