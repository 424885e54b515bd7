"""Workers forked from a Python that has imported what they need: a start takes no seconds of imports.

All else is as ever: the entry point, the channel, the load, a session, an environment and a log of its own.
Two servers fork, each once for all tests of a process. ``warm_workers`` is for whole runs of transformers
whose subject is what happens after the load. That workers start in a new interpreter goes on being shown by
``runs/test_run.py``, ``test_extending.py`` and ``optimisations/test_trained_in_a_worker.py``. The workers of
``fake_runtime`` are forked in every run that a test makes itself; ``measure/test_worker_process.py`` and all
tests that start ``bench`` as a command start new ones.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from bench.engine import further
from bench.measure import worker_process
from bench.measure.worker_environment import worker_environment

SERVER = Path(__file__).with_name("warm_server.py")
PR_SET_CHILD_SUBREAPER = 36


class Forked:
    """A program that was forked: what is used of a ``subprocess.Popen``."""

    def __init__(self, pid: int, stdin: IO[Any] | None = None, stdout: IO[Any] | None = None) -> None:
        self.pid, self._ended = pid, os.pidfd_open(pid)
        self.stdin, self.stdout = stdin, stdout
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or minus the signal that ended it."""
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._ended)
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code, or None if it has not ended."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self) -> tuple[Any, None]:
        """Let its input end, and wait until it has ended; what else it printed."""
        if self.stdin:
            with suppress(BrokenPipeError):
                self.stdin.close()
        rest = None
        if self.stdout and not self.stdout.closed:
            with self.stdout as printed:
                rest = printed.read()
        self.wait()
        return rest, None

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.communicate()


class Warm:
    """A server, ``engine`` or ``fake``, and the programs that are forked from it."""

    def __init__(self, kind: str) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        flags = ["-S"] if kind == "fake" else []
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *flags, str(SERVER), kind, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()], env=worker_environment(1),
            )  # fmt: skip
        assert self._channel.recv(16) == b"ready"

    def start(
        self, command: Sequence[str], *, env: Mapping[str, str], pass_fds: Sequence[int] = (),
        stdin: int | None = None, stdout: Any = None, stderr: Any = None, cwd: str | Path | None = None,
        text: bool = False, bufsize: int = -1, **_others: object,
    ) -> Forked:  # fmt: skip
        """Start ``[PYTHON, FILE, ARGUMENT, ...]`` as ``subprocess.Popen`` would, in a session of its own;
        ``-m MODULE`` or ``-c CODE`` may stand in the place of a file. What it prints goes into open files, a
        pipe, or to where this process prints."""
        into, out_of = (os.pipe() if one == subprocess.PIPE else () for one in (stdin, stdout))
        asked = {
            "argv": list(command[2:] if command[1] == "-P" else command[1:]), "env": dict(env),
            "cwd": str(cwd or Path.cwd()), "numbers": [*(0 for _ in into[:1]), *pass_fds],
        }  # fmt: skip
        output = out_of[1] if out_of else 1 if stdout is None else stdout.fileno()
        errors = 2 if stderr is None else output if stderr == subprocess.STDOUT else stderr.fileno()
        descriptors = [output, errors, *into[:1], *pass_fds]
        with _orphans_come_here():
            socket.send_fds(self._channel, [json.dumps(asked).encode()], descriptors)
            said = self._channel.recv(8)
        assert said, "the server has ended"
        for theirs in (*into[:1], *out_of[1:]):
            os.close(theirs)
        kind = "" if text else "b"
        return Forked(
            int.from_bytes(said, "little"), os.fdopen(into[1], f"w{kind}", bufsize) if into else None,
            os.fdopen(out_of[0], f"r{kind}") if out_of else None,
        )  # fmt: skip

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; what it printed."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            program = self.start(["", *map(str, command)], stdout=out, stderr=err, env=os.environ)
            code = program.wait(timeout=240)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(list(command), code, out.read(), err.read())

    def close(self) -> None:
        """End the server; what was forked has this process as its parent."""
        self._channel.close()
        self._process.wait(timeout=60)


@contextmanager
def _orphans_come_here() -> Iterator[None]:
    """Within the block a process whose parent ends becomes a child of this one."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def forking(warm: Warm, is_ours: Callable[[str], bool]) -> SimpleNamespace:
    """``subprocess`` as ``worker_process`` uses it, with a ``Popen`` that forks what is ours."""

    def popen(command: Sequence[str], **settings: Any) -> Any:
        start: Callable[..., Any] = warm.start if is_ours(command[0]) else subprocess.Popen
        return start(command, **settings)

    return SimpleNamespace(**{**vars(subprocess), "Popen": popen})


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A Python that has loaded a model with transformers."""
    server = Warm("engine")
    yield server
    server.close()


@pytest.fixture(scope="session")
def warm_fake() -> Iterator[Warm]:
    """A Python that knows the runtime ``fake``."""
    server = Warm("fake")
    yield server
    server.close()


@pytest.fixture(scope="module")
def warm_workers(warm: Warm) -> Iterator[None]:
    """The workers with this interpreter are forked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker_process, "subprocess", forking(warm, lambda python: python == sys.executable))
        yield


@pytest.fixture(scope="module")
def warm_cloud(warm: Warm) -> Iterator[None]:
    """The cloud of a split model is forked. ``optimisations/test_split_layers.py`` starts one that is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(further, "subprocess", forking(warm, lambda python: python == sys.executable))
        yield
