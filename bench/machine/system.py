"""What the system says of itself: small files, memory, installed packages. None where it does not say."""

from __future__ import annotations

from pathlib import Path

from bench.machine.proc import text_of


def memory_bytes(field: str) -> int | None:
    """A field of /proc/meminfo (``MemTotal``, ``MemAvailable``) in bytes."""
    for line in (text_of(Path("/proc/meminfo")) or "").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def installed(package: str) -> str | None:
    """The installed version of a distribution, from its metadata; nothing is imported."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
