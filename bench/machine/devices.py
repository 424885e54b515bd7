"""Find the devices of this machine without importing torch."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import takewhile
from pathlib import Path

from bench.machine.children import NOWHERE, environment

ASK_S = 2.0
DEV = Path("/dev")


def cuda_device_count() -> int:
    """Count the CUDA devices that a worker would see. These are the driver's device files, limited by
    CUDA_VISIBLE_DEVICES. As for CUDA, the first entry that is no device ends its list."""
    found = sum(1 for file in DEV.glob("nvidia[0-9]*"))
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not found:
        return found
    entries = [one.strip() for one in chosen.split(",")]
    return len(list(takewhile(lambda one: _is_device(one, found), entries)))


def _is_device(entry: str, found: int) -> bool:
    """Return whether an entry of CUDA_VISIBLE_DEVICES may be one of ``found`` devices: a number, or a UUID,
    which is not looked up here."""
    return int(entry) < found if re.fullmatch("[0-9]{1,9}", entry) else entry.startswith(("GPU-", "MIG-"))


def cuda_memory_bytes() -> int | None:
    """Return the memory of the first CUDA device that a worker would see, as the driver's own tool says.

    None if there is no device, or if the tool is absent, fails or takes too long. A share of a device (MIG)
    counts as the whole of it.
    """
    if not cuda_device_count():
        return None
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    command = ["nvidia-smi", f"--id={first}", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            command, env=environment(), cwd=NOWHERE, capture_output=True, text=True, timeout=ASK_S, check=True
        ).stdout
        return int(said.split()[0]) * 1024**2
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def cpu_count() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0))
