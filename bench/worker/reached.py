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
from contextlib import suppress
from pathlib import Path
from types import FrameType

from bench.bounded import IS_POINTER, is_pointer
from bench.errors import Outcome, VariantFailed
from bench.records import ANY

STARTS = ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.spawn", "os.system")
# Metadata of installed packages is read by whoever lists them; it says nothing about what runs.
NOT_CODE = (".dist-info", ".egg-info", "__pycache__")


class Reached:
    """Notes every file below ``roots`` (name to directory) that this process opens to read."""

    def __init__(self, roots: Mapping[str, str]) -> None:
        self._roots = {name: os.path.realpath(root) for name, root in roots.items()}
        self._opened: set[str] = set()
        self._started = False
        if self._roots:
            sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            self._note(*arguments)
        elif event == "sqlite3.connect":
            self._note(arguments[0], None, os.O_RDONLY)
        elif event in STARTS and self._from_the_side():
            self._started = True

    def _note(self, path: object, _mode: object, flags: object) -> None:
        """Note a file that is opened to read; a relative path is lost if the directory is gone."""
        for_writing = isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY
        if isinstance(path, str | bytes) and not for_writing:
            with suppress(OSError):
                self._opened.add(os.path.realpath(os.fsdecode(path)))

    def _from_the_side(self) -> bool:
        """Return whether code of the side starts another process, whose files nobody sees."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if not file.startswith("<") and self._name(os.path.realpath(file)) is not None:
                return True
            frame = frame.f_back
        return False

    def files(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its root's name and its path within the root.

        Raises VariantFailed if one is a pointer of Git LFS: something else was measured than what is meant.
        """
        modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        found = {ANY: ""} if self._started else {}
        for path in self._opened | {os.path.realpath(file) for file in modules if isinstance(file, str)}:
            name = self._name(path)
            if name is not None and Path(path).is_file():
                content = self._content(path)
                if is_pointer(content, len(content)):
                    inside = name.partition(":")[2]
                    raise VariantFailed(Outcome.LOAD_ERROR, f"{inside} is {IS_POINTER}")
                found[name] = hashlib.sha256(content).hexdigest()
        return found

    def _content(self, path: str) -> bytes:
        """Return a file's content without the paths of its side, which an editable package holds."""
        content = Path(path).read_bytes()
        for name, root in self._roots.items():
            content = content.replace(root.encode(), name.encode())
        return content

    def _name(self, path: str) -> str | None:
        """Return ``root:path``, or None for a file that is below no root or is no code."""
        for name, root in self._roots.items():
            if path.startswith(root + os.sep):
                inside = path[len(root) + 1 :]
                odd = any(part.endswith(NOT_CODE) for part in Path(inside).parts)
                return None if odd else f"{name}:{inside}"
        return None
