"""Note which files of a side's commit the measured process reads, so that a gate knows what it measured.

Imported modules are found in ``sys.modules``; other files (templates, prompts, settings) by Python's audit
events, because they may be opened anywhere. Files that a library opens in C, such as weights, are not seen
here: weights have a digest of their own.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

# Metadata of installed packages is read by whoever lists them; it says nothing about what runs.
NOT_CODE = (".dist-info", ".egg-info", "__pycache__")


class Reached:
    """Notes every file below ``roots`` (name to directory) that this process opens to read."""

    def __init__(self, roots: Mapping[str, str]) -> None:
        self._roots = {name: os.path.realpath(root) for name, root in roots.items()}
        self._opened: set[str] = set()
        if self._roots:
            sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str):
            self._opened.add(str(Path.cwd() / arguments[0]))

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its root's name and its path within the root."""
        modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        found = {}
        for path in {os.path.realpath(file) for file in (*self._opened, *modules) if isinstance(file, str)}:
            name = self._name(path)
            if name is not None and Path(path).is_file():
                found[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return found

    def _name(self, path: str) -> str | None:
        """Return ``root:path``, or None for a file that is below no root or is no code."""
        for name, root in self._roots.items():
            if path.startswith(root + os.sep):
                inside = path[len(root) + 1 :]
                return None if any(part in inside for part in NOT_CODE) else f"{name}:{inside}"
        return None
