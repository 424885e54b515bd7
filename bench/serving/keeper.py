"""Run a process between us and a server that ends the server and its children, even if we are killed.

``python -m bench.serving.keeper LOG GRACE_S LATER_S -- COMMAND…`` starts the command and then waits. Standard
input is a pipe that nobody writes to: it ends when its owner closes it or dies. The server then has GRACE_S
seconds to end, and what it has started has LATER_S more. Orphans of the server become children of this
process (PR_SET_CHILD_SUBREAPER), so none is lost, whatever session it went to. On standard output it prints
``ended CODE`` when the server ends, and ``left N`` when all is gone: N processes outlived the server and were
killed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.bounded import keep_short, open_to_append
from bench.machine.proc import be_killed_first, ending_with_parent

PR_SET_CHILD_SUBREAPER = 36
KILL_S = 5.0
LOOK_S = 1.0  # between two looks at how long the log is


def main() -> int:
    """Keep one server; return 0 when all of its processes are gone, 1 if some cannot be killed."""
    log, grace_s, later_s, places, _, *command = sys.argv[1:]
    # It was for this process. Where this package is installed, the packages that lie beside it would be found
    # there before those of the server's own interpreter.
    os.environ.pop("PYTHONPATH", None)
    if places:
        os.environ["PYTHONPATH"] = places
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    with open_to_append(Path(log)) as out:
        try:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                preexec_fn=_begin(ending_with_parent(signal.SIGKILL)),
            )  # fmt: skip
        except OSError as bad:
            out.write(f"{command[0]} cannot be started: {bad.strerror}\n".encode())
            _say("ended 127")
            _say("left 0")
            return 0
    ended = _wait(server.pid, woken, Path(log))
    if ended is None:
        os.kill(server.pid, signal.SIGTERM)
        ended = _ended_within(server.pid, float(grace_s))
    left = 0 if ended is None else _left(float(later_s))
    _kill_all()
    keep_short(Path(log))
    _say(f"left {left}")
    return 1 if _alive() else 0


def _begin(end_with_parent: Callable[[], None]) -> Callable[[], None]:
    """Return what the server does before it is the server: it holds a model, and this process does not."""

    def begin() -> None:
        end_with_parent()
        be_killed_first()

    return begin


def _wait(server: int, woken: int, log: Path) -> int | None:
    """Wait until the server ends, and return its code; None when our owner is gone or asks us to stop. What
    the server prints meanwhile is kept short."""
    while True:
        ready, _, _ = select.select([0, woken], [], [], LOOK_S)
        keep_short(log)
        if woken in ready:
            told = os.read(woken, 4096)
            code = _reaped(server)
            if code is not None:
                return code
            if any(number != signal.SIGCHLD for number in told):
                return None
        if 0 in ready:
            return None


def _ended_within(server: int, seconds: float) -> int | None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        code = _reaped(server)
        if code is not None:
            return code
        time.sleep(0.02)
    return None


def _reaped(server: int) -> int | None:
    """Reap every child that has ended; return the server's code, and tell it, if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == server:
            found = os.waitstatus_to_exitcode(status)
            _say(f"ended {found}")


def _alive() -> list[int]:
    import psutil

    found = psutil.Process().children(recursive=True)
    return [one.pid for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def _left(later_s: float) -> int:
    """Return how many processes are still there after the time that they may take to see that it ended."""
    until = time.monotonic() + later_s
    while (alive := _alive()) and time.monotonic() < until:
        time.sleep(0.02)
        _reaped(0)
    return len(alive)


def _kill_all() -> None:
    until = time.monotonic() + KILL_S
    while (alive := _alive()) and time.monotonic() < until:
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
        _reaped(0)


def _say(line: str) -> None:
    try:
        os.write(1, line.encode() + b"\n")
    except BrokenPipeError:
        return  # our owner is gone, and still all has to be ended


if __name__ == "__main__":
    sys.exit(main())
