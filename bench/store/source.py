"""Identify the code that made a run, by a digest over the program's own files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import bench


def source_digest() -> str:
    """Return the SHA-256 over every Python file of the package, so that a result shows which code made it."""
    digest = hashlib.sha256()
    for path in sorted(Path(bench.__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
