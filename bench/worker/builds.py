"""Watch the kernels that PyTorch builds at first use, and break the lock of a build that was killed.

``torch.utils.cpp_extension`` makes a file ``lock`` in the directory of a build, and holds it open until the
build has ended. Whoever finds the file waits until it is gone. If the builder was killed, that is for ever.
A build takes minutes in which nothing is heard of the process, while its harness waits for a word.
"""

from __future__ import annotations

import importlib.abc
import sys
import threading
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.engine import progress
from bench.errors import Outcome, VariantFailed
from bench.machine.proc import is_open

MODULE = "torch.utils.file_baton"
ALONE_S = 2.0  # a lock is closed a moment before it is deleted
MOST_S = 3600.0  # no build is waited for, and spoken of, for longer


def watch() -> None:
    """Watch every build of this process, also before it has imported PyTorch, as an engine does that builds
    while it is loaded.

    Both a build and the wait for another process's build say every few seconds that they go on. A wait for a
    lock which nobody holds fails with the reason. The file is not deleted: whoever reads the reason knows
    whether a process of another container is building.
    """
    if "torch" not in sys.modules:
        if not any(isinstance(one, _AtImport) for one in sys.meta_path):
            sys.meta_path.insert(0, _AtImport())
        return
    try:
        from torch.utils.file_baton import FileBaton
    except ImportError:  # a PyTorch that builds in another way has another lock
        return
    _change(FileBaton)


class _AtImport(importlib.abc.MetaPathFinder):
    """Changes the lock of PyTorch as soon as it is imported, and is gone then."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Changing(spec.loader)
        return spec


class _Changing(importlib.abc.Loader):
    """Loads a module as its own loader does, and changes the lock in it."""

    def __init__(self, own: importlib.abc.Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._own.exec_module(module)
        if hasattr(module, "FileBaton"):
            _change(module.FileBaton)


def _change(baton: Any) -> None:
    """Let a class of locks wait as ``_wait`` does, and speak while a build has one."""
    if baton.wait is _wait:
        return
    acquire, release = baton.try_acquire, baton.release

    def try_acquire(self: Any) -> bool:
        if not acquire(self):
            return False
        self.spoken = _Spoken(Path(self.lock_file_path).parent)
        return True

    def released(self: Any) -> None:
        if spoken := vars(self).pop("spoken", None):
            spoken.end()
        release(self)

    baton.wait, baton.try_acquire, baton.release = _wait, try_acquire, released


class _Spoken:
    """Says that a build in a directory goes on, from a thread of its own, because the build itself waits for
    its compiler. After ``MOST_S`` it is silent, and the harness's own limit holds."""

    def __init__(self, directory: Path) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._speak, args=(directory.name,), daemon=True)
        self._thread.start()

    def _speak(self, name: str) -> None:
        begun = time.monotonic()
        while (since := time.monotonic() - begun) < MOST_S:
            progress.say(f"kernels are built: {name}, {since:.0f} s")
            if self._ended.wait(progress.EVERY_S):
                return

    def end(self) -> None:
        """Be silent."""
        self._ended.set()
        self._thread.join()


def _wait(baton: Any) -> None:
    """Wait until a lock is gone. Raises VariantFailed if no process has had it open for ``ALONE_S``, and
    after ``MOST_S``."""
    lock, begun = Path(baton.lock_file_path), time.monotonic()
    alone_since: float | None = None
    while lock.exists():
        open_now = is_open(lock) is not False  # a look at each process: it takes a while
        now = time.monotonic()
        alone_since = None if open_now else alone_since or now
        if alone_since is not None and now - alone_since > ALONE_S:
            raise VariantFailed(
                Outcome.LOAD_ERROR,
                f"a build of kernels would wait for ever: its lock {lock.resolve()} was left by a process "
                "that has ended, and no process holds it; if nobody builds there, delete that file",
            )
        progress.say(f"another process builds kernels: {lock.parent.name}, {now - begun:.0f} s")
        if now - begun > MOST_S:
            raise VariantFailed(
                Outcome.TIMEOUT,
                f"another process has built kernels for {MOST_S:g} s, behind the lock {lock.resolve()}",
            )
        time.sleep(baton.wait_seconds)
