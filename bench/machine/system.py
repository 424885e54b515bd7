"""Read facts about the system from small files, such as its memory. A fact that is not available is None."""

from __future__ import annotations

from pathlib import Path

from bench.machine.proc import text_of


def memory_bytes(field: str) -> int | None:
    """Return a field of /proc/meminfo (``MemTotal``, ``MemAvailable``) in bytes."""
    for line in (text_of(Path("/proc/meminfo")) or "").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
