"""Entry point of a worker: ``python path/to/bench/worker/__main__.py FD``.

Run by path, so that any interpreter can be a worker: the package ``bench`` is registered from this file's
place, and nothing else of the harness's environment comes with it. The worker's own environment needs
the standard library and the engine it drives.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1


def _register_package() -> None:
    """Make ``import bench`` find this very copy, whatever this interpreter has installed."""
    package = Path(__file__).resolve().parent.parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != package / "worker"]
    if "bench" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "bench", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench"] = module
    spec.loader.exec_module(module)


def _die_with_parent(parent: int) -> None:
    """Linux kills this process when the harness dies, however it dies; others notice the closed channel."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the harness was gone before the worker started")
        with suppress(OSError):  # a read-only /proc: then the kernel chooses by itself
            Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Serve the channel whose descriptor is the first argument."""
    _register_package()
    from bench.engine import processors  # noqa: F401 - counted before a library binds its threads
    from bench.worker.loop import serve

    _die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Not a context manager: the excepthook still needs the channel after the stack has unwound.
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
