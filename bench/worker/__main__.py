"""Entry point of a worker: ``python path/to/bench/worker/__main__.py FD PARENT_PID [MEMORY_LIMIT]``.

With ``cloud`` or ``rank`` before FD it is a further process of a worker, and not one of the harness.

The file is run by path, so that any Python interpreter can be a worker. It registers the package ``bench``
from its own location and takes nothing else from the harness's environment. The worker's environment needs
only the standard library and the engine that it runs.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib.util
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path


def _register_package() -> None:
    """Make ``import bench`` find this copy, even if the interpreter has another one installed."""
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
    """Let Linux kill this process when the harness dies, and keep what it starts below it. On other systems
    the worker notices the closed channel."""
    if sys.platform == "linux":
        from bench.machine.proc import adopt_orphans, ending_with_parent

        adopt_orphans()
        ending_with_parent(signal.SIGKILL, os.getppid())()
        if os.getppid() != parent:
            sys.exit("the harness was gone before the worker started")


def _limit_memory(most_bytes: int) -> None:
    """Let the kernel refuse more memory for data than this, here and in each child. Files that are mapped for
    reading do not count."""
    from bench.machine.proc import as_allowed

    most = as_allowed(resource.RLIMIT_DATA, most_bytes)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    """Serve the channel whose file descriptor is the first argument, as a worker. With ``cloud`` before it,
    be the cloud's half of one, and with ``rank`` a further process of a model that is split."""
    gc.disable()  # it would search what is imported for garbage, again and again
    _register_package()
    from bench.engine import processors  # noqa: F401 - counted before a library binds its threads
    from bench.machine.proc import be_killed_first

    part = sys.argv[1] if sys.argv[1] in ("cloud", "rank") else ""
    descriptor, parent, *limit = sys.argv[2 if part else 1 :]
    _die_with_parent(int(parent))
    be_killed_first()
    if limit:
        _limit_memory(int(limit[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The socket is not closed by a context manager: the excepthook needs it after the stack has unwound.
    channel = socket.socket(fileno=int(descriptor))
    if part == "cloud":
        from bench.worker.cloud import serve
    elif part == "rank":
        from bench.worker.rank import serve
    else:
        from bench.worker.loop import serve
    gc.enable()
    serve(channel)
    _leave()


def _leave() -> None:
    """End this process at once: nobody waits until the modules of an engine are taken apart one by one. What
    was registered for the end of the process is done, and what was printed is written."""
    atexit._run_exitfuncs()
    with suppress(OSError):  # the log may be on a full disk
        sys.stdout.flush()
        sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)  # of libraries in C
    os._exit(0)


if __name__ == "__main__":
    main()
