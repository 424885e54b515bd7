"""The devices of this machine, found without importing torch."""

from __future__ import annotations

import os
from pathlib import Path


def cuda_device_count() -> int:
    """Count the CUDA devices that a worker would see. These are the driver's device files, limited by
    CUDA_VISIBLE_DEVICES."""
    found = sum(1 for file in Path("/dev").glob("nvidia[0-9]*"))
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not found:
        return found
    return len([one for one in chosen.split(",") if one.strip() and one.strip() != "-1"])


def cpu_count() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0))
