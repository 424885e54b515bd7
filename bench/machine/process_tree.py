"""Run a command to its end and leave nothing of it behind: neither its children nor theirs.

A build command that is killed alone leaves its compilers and its ``sleep``; they would go on, disturb what is
measured next, and hold its pipes open so that nobody sees the end. Every command that is run here has a
session of its own and a mark in its environment, which its descendants inherit: whoever is in the session or
has the mark is ended with it. A process that has left the session and emptied its environment is found only
if it was seen below the command before that ended (``started_by``).
"""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, AnyStr

from bench.machine.proc import as_allowed, descendants, ending_with_parent, entries, session_of, stat_of

MARK = "BENCH_FAMILY"
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MOST_BYTES = 64 * 1024 * 1024  # of what a command printed; of more, the end is kept
ROUNDS, ROUND_S = 500, 0.01  # of killing, while a family still starts others
BEGAN = 19  # of ``stat``, from its state on: when a process was started
Started = Mapping[int, str]  # by process id: when it was started, since the id may be given again


def marked(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command with a mark that no other command has."""
    return {**environment, MARK: secrets.token_hex(16)}


@contextmanager
def signals_wait() -> Iterator[None]:
    """Let a signal whose handler is Python code wait until this block has ended. One that raises an exception
    while a command is started would leave the command behind, of which nobody knows yet.

    Other threads may take a signal too, so that a mask of this one would not do. Handlers run in the main
    thread alone, so in any other nothing waits.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in ENDING}
    ours = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in ours:
            signal.signal(number, lambda told, _frame: heard.append(told))
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
    for told in heard:
        signal.raise_signal(told)


@contextmanager
def ending(
    start: Callable[[], subprocess.Popen[AnyStr]], given: Mapping[str, str], *, may_leave: bool = False
) -> Iterator[subprocess.Popen[AnyStr]]:
    """Start a command whose environment is ``given``; at the end of this block it ends, with all that it has
    started, also if a signal comes while it starts. If it ``may_leave`` something and has ended well by then,
    what it has started goes on."""
    child: subprocess.Popen[AnyStr] | None = None
    try:
        with signals_wait():
            child = start()
        yield child
    finally:
        if child is not None and not (may_leave and child.returncode == 0):
            end_family(child, given)


def run_whole(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout_s: float,
    cwd: str | Path | None = None,
    *,
    may_leave: bool = False,
    whole: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command, and return it with what it printed. Nothing that it started is left when this returns;
    with ``may_leave`` that holds only if it did not end well, so that git may tidy up behind it. If this
    process is killed, the command ends too, unless it may leave something: git would leave locks. A command
    that prints too much is stopped if its output is wanted ``whole``; otherwise the end of it is returned.

    Raises OSError if it cannot be started, CalledProcessError if it fails, and TimeoutExpired with what it
    had printed if it took more than ``timeout_s``.
    """
    given = marked(environment)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=given,
                start_new_session=True, preexec_fn=_before(may_leave=may_leave, whole=whole),
            )  # fmt: skip

        try:
            with ending(start, given, may_leave=may_leave) as child:
                code = child.wait(timeout_s)
        except subprocess.TimeoutExpired as late:
            late.output, late.stderr = printed(out), printed(err)  # type: ignore[assignment]
            raise
        done = subprocess.CompletedProcess(command, code, printed(out), printed(err))
    done.check_returncode()
    return done


def _before(*, may_leave: bool, whole: bool) -> Callable[[], None] | None:
    """Return what a child does before it becomes a command. If its output is read whole, no file that it
    writes may get longer than that; it is then ended by SIGXFSZ."""
    ask = None if may_leave else ending_with_parent(signal.SIGKILL)
    if not whole:
        return ask
    most = as_allowed(resource.RLIMIT_FSIZE, MOST_BYTES)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        if ask is not None:
            ask()

    return limit


def printed_too_much(bad: Exception) -> bool:
    """Return whether a command was stopped because it printed more than may be read whole."""
    return isinstance(bad, subprocess.CalledProcessError) and bad.returncode == -signal.SIGXFSZ


def started_by(pid: int) -> Started:
    """Return what a process has started and what still runs of it, to be ended with ``end_family``."""
    return {below: began for below in descendants(pid) if (began := _began(below))}


def _began(pid: int) -> str:
    return "".join(stat_of(pid)[BEGAN : BEGAN + 1])


def end_family(child: subprocess.Popen[Any], given: Mapping[str, str], seen: Started | None = None) -> None:
    """Kill a command that was started in a session of its own with the environment ``given``, and all that it
    started, with what was ``seen`` below it. Those that start others meanwhile are looked for again, for five
    seconds at most."""
    pause = threading.Event()
    for _ in range(ROUNDS):
        if not (left := family(child, given, seen or {})):
            break
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pause.wait(ROUND_S)
    child.wait()


def family(child: subprocess.Popen[Any], given: Mapping[str, str], seen: Started) -> list[int]:
    """Return the processes in the child's session, those with the mark in ``given``, and those that were
    ``seen`` below it with what they have started, if they have not ended.

    The child comes first: a shell would print that its own children were killed. Once it was waited for, its
    id may be that of another process.
    """
    pids = [int(entry.name) for entry in entries(Path("/proc")) if entry.name.isdecimal()]
    known = [pid for pid, began in seen.items() if _began(pid) == began]
    below = [pid for one in known for pid in descendants(one)]
    marks = [pid for pid in pids if pid != os.getpid() and _has(pid, given[MARK])]
    found = dict.fromkeys(
        [*session_of(child.pid), *marks, *known, *below][0 if child.poll() is None else 1 :]
    )
    return [pid for pid in found if stat_of(pid)[:1] not in ([], ["Z"])]


def _has(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # of another user, or gone
        return False


def printed(file: IO[bytes]) -> str:
    """Return the text in a file, or the end of it if it is very long."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MOST_BYTES))
    return file.read().decode(errors="replace")
