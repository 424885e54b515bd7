"""Start and end the further processes of a worker: the cloud of a split model, or ranks on other devices.

Each stays in the worker's session, so that its time and memory count as the worker's, and the kernel ends it
when the worker dies. It is the program of a worker, with what it shall be as its first argument.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import bench

ENTRY = Path(bench.__file__).parent / "worker" / "__main__.py"
Process = subprocess.Popen[bytes]


def started(part: Literal["cloud", "rank"], channel: socket.socket) -> Process:
    """Start a process that serves the other end of a connection, and close ``channel``, its own end, here."""
    with channel:
        return subprocess.Popen(
            [sys.executable, str(ENTRY), part, str(channel.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL, pass_fds=[channel.fileno()], cwd="/",
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )  # fmt: skip


def end(processes: Sequence[Process], channels: Sequence[socket.socket]) -> None:
    """Close the connections and end the processes; it does not matter what has ended already."""
    for channel in channels:
        channel.close()
    for process in processes:
        process.kill()
        process.wait()
