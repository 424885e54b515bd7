"""Start one worker process, send it commands, end it, and say how it ended.

The harness sleeps in a selector while a worker works; it never polls. A worker runs in its own session, gets
only an allow-list of environment variables, and dies with the harness.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import bench
from bench.bounded import keep_short, open_to_append
from bench.errors import BenchError, OnFailure, Outcome, TerminatedRun, VariantFailed
from bench.formatting import format_mib
from bench.machine.proc import entries, tree_of
from bench.machine.process_tree import end_family, family, marked, started_by
from bench.measure.scratch import Scratch
from bench.measure.worker_death import failure_of
from bench.measure.worker_environment import worker_environment
from bench.records import Json
from bench.worker.protocol import MAX_COMMAND_BYTES, ChannelClosed, ProtocolError, receive, send

GRACE_S = 5.0
HELLO_S = 60.0
# The longest pause inside one frame, in both directions: a worker that stops in the middle of a frame must
# not block the harness.
STALL_S = 60.0
# How often the child's threads are listed at most. The second listing usually finds no new thread, unless the
# child is starting many of them.
MOST_LISTINGS = 20


class WorkerProcess:
    """A context manager around one ``bench.worker`` child."""

    def __init__(
        self,
        name: str,
        log: Path,
        python: Path | None = None,
        threads: int | None = None,
        on_cpu: bool = True,
        directory: str | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self.name = name
        self._memory_limit = memory_limit
        self._directory = directory
        self._log = log
        self._environment = marked(worker_environment(threads, on_cpu, python=python))
        self._python = str((python or Path(sys.executable)).absolute())
        self._no_grace = self._ended = False
        self.on_progress: Callable[[str], None] = lambda _text: None
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch = Scratch(directory)

    def __enter__(self) -> WorkerProcess:
        with OnFailure(self.close):
            self._spawn()
            self.finish(HELLO_S)
        return self

    def _spawn(self) -> None:
        """Start the child with one end of a socket pair; the harness keeps the other end."""
        self._channel, worker_end = socket.socketpair()
        self._channel.settimeout(STALL_S)
        entry = Path(bench.__file__).parent / "worker" / "__main__.py"
        command = [self._python, str(entry), str(worker_end.fileno()), str(os.getpid())]
        command += [] if self._memory_limit is None else [str(self._memory_limit)]
        with worker_end, self._opened_log() as output:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    env=self._environment | self._scratch.make(), pass_fds=[worker_end.fileno()],
                    start_new_session=True,
                    cwd=self._directory,
                )  # fmt: skip
            except OSError as bad:
                self._channel.close()
                self._scratch.remove()
                reason = f"cannot start {self._python}: {bad.strerror}"
                raise VariantFailed(Outcome.LOAD_ERROR, reason) from None

    def _opened_log(self) -> BinaryIO:
        """Open the log of what the worker prints. A run's directory that is continued may hold anything."""
        try:
            return open_to_append(self._log)
        except OSError as bad:
            self._channel.close()
            raise BenchError(f"cannot write {self._log}: {bad.strerror}") from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever has sent SIGTERM, or Ctrl-C twice, does not wait until a busy worker leaves by itself.
        self._no_grace |= isinstance(error, TerminatedRun | KeyboardInterrupt)
        self.close()

    @property
    def pid(self) -> int:
        """Return the child's process id, which is also its process group."""
        assert self._process is not None, "the worker was not started"
        return self._process.pid

    def tree(self) -> list[int]:
        """Return the processes of the child, itself first, and of all that it has started."""
        assert self._process is not None, "the worker was not started"
        return family(self._process, self._environment, started_by(self.pid))

    def answers_within(self, seconds: float) -> bool:
        """Return whether the reply to a command that was started arrives in time; ``finish`` reads it."""
        return self._readable(seconds)

    def pin(self, cpus: Sequence[int]) -> None:
        """Bind every thread of the child, and of what it has started, to these processors; do nothing if the
        child has ended.

        A thread that starts meanwhile inherits the processors of the thread that started it. So the list of
        threads is read again until none of them had to be moved.
        """
        for _ in range(MOST_LISTINGS):
            tasks = [task for pid in tree_of(self.pid) for task in entries(Path(f"/proc/{pid}/task"))]
            moved = [_moved(int(task.name), set(cpus)) for task in tasks]
            if not any(moved):
                return

    def ask(self, do: str, timeout_s: float, **arguments: object) -> Json:
        """Send one command and wait for its result. Raises VariantFailed."""
        self.start(do, (), **arguments)
        return self.finish(timeout_s)

    def start(self, do: str, descriptors: Sequence[int], **arguments: object) -> None:
        """Send one command without waiting for the reply, which ``finish`` reads. Raises VariantFailed."""
        try:
            send(self._channel, {"do": do, **arguments}, descriptors, MAX_COMMAND_BYTES)
        except ChannelClosed:
            raise self._died() from None
        except ProtocolError as bad:
            raise VariantFailed(Outcome.PROTOCOL_ERROR, f"{do!r}: {bad}") from None
        except TimeoutError:
            raise self._stalled(f"{do!r} was not taken within {STALL_S:.0f} s") from None

    def finish(self, timeout_s: float) -> Json:
        """Sleep until the reply arrives, and pass progress messages on. Raises VariantFailed if the worker
        failed or sent nothing for ``timeout_s``."""
        while (said := self._hear(timeout_s)).get("progress") is not None:
            self.on_progress(str(said["progress"])[:200])
        keep_short(self._log)
        return self._result(said)

    def _hear(self, timeout_s: float) -> Json:
        """Read one frame: a reply or a progress message."""
        if not self._readable(timeout_s):
            raise self._stalled(f"no answer within {timeout_s:.0f} s")
        try:
            reply, descriptors = receive(self._channel)
        except ChannelClosed:
            raise self._died() from None
        except TimeoutError:
            raise VariantFailed(Outcome.PROTOCOL_ERROR, "a reply stopped half way") from None
        except ProtocolError as bad:
            raise VariantFailed(Outcome.PROTOCOL_ERROR, str(bad)) from None
        for descriptor in descriptors:  # no reply needs a descriptor
            os.close(descriptor)
        return reply

    def _stalled(self, what: str) -> VariantFailed:
        self._no_grace = True
        self.close()
        return VariantFailed(Outcome.TIMEOUT, f"{what}; the worker was ended")

    def _result(self, reply: Json) -> Json:
        if reply.get("ok") is True and isinstance(reply.get("result"), dict):
            result: Json = reply["result"]
            return result
        if reply.get("ok") is False and reply.get("outcome") == "peer_gone":
            raise PeerGone(self.name)
        if reply.get("ok") is False and reply.get("outcome") in list(Outcome):
            reason = str(reply.get("reason"))[:1000]
            if reply["outcome"] == Outcome.OOM_HOST and self._memory_limit is not None:
                reason += f" (measure.memory_limit is {format_mib(self._memory_limit)} MiB)"
            raise VariantFailed(Outcome(reply["outcome"]), reason)
        raise VariantFailed(Outcome.PROTOCOL_ERROR, f"a reply of an unknown form: {str(reply)[:200]}")

    def _readable(self, timeout_s: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            return bool(selector.select(timeout_s))

    def _died(self) -> VariantFailed:
        """Return the failure of a worker that closed its channel without a reply."""
        code = self._left_within(GRACE_S)
        if code is None:
            self.close()
            return VariantFailed(Outcome.PROTOCOL_ERROR, "the worker closed its channel and stayed")
        return failure_of(code, self._log, self._memory_limit)

    def close(self) -> None:
        """End the child, once: close the channel, then send SIGTERM to its process group, then SIGKILL to all
        that it has started, wherever that has gone: it would load the machine for the next one."""
        if self._process is None or self._ended:
            return
        self._ended, started = True, started_by(self.pid)
        self._channel.close()
        if self._no_grace or self._left_within(GRACE_S) is None:
            self._signal_group(signal.SIGTERM)
            self._left_within(GRACE_S)
        end_family(self._process, self._environment, started)
        self._scratch.remove()

    def _left_within(self, seconds: float) -> int | None:
        """Return the exit code (minus the signal number), or None if the child runs for ``seconds`` more."""
        assert self._process is not None, "the worker was not started"
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _signal_group(self, number: signal.Signals) -> None:
        """Signal the process group, which includes grandchildren; do nothing if the group has ended."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return


def _moved(thread: int, cpus: set[int]) -> bool:
    """Bind a thread to these processors. Return False if it was bound there already or has ended."""
    with suppress(ProcessLookupError):
        if os.sched_getaffinity(thread) != cpus:
            os.sched_setaffinity(thread, cpus)
            return True
    return False


class PeerGone(Exception):
    """A healthy worker reports that its partner died."""
