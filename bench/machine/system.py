"""What the system says of itself: small files, memory, installed packages. None where it does not say."""

from __future__ import annotations

from pathlib import Path


def text_of(path: Path) -> str | None:
    """The text of a small system file, None where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


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
