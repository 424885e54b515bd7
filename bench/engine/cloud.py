"""Start, use and end the second process of a split model, which plays the cloud.

It is a real process with a real TCP connection on this machine. It stays in the worker's session, so that its
time and memory count as the worker's, and the kernel ends it when the worker dies.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bench
from bench.engine import split_socket
from bench.engine.split_socket import Frame, Gone, Op
from bench.errors import Outcome, VariantFailed

ENTRY = Path(bench.__file__).parent / "worker" / "__main__.py"
LEAVES_WITHIN_S = 2.0  # how long to wait for the exit code of a process that closed its connection


class Cloud:
    """Own the cloud's process and the connection to it. The process ends with this object at the latest."""

    def __init__(self) -> None:
        self._channel, theirs = connected_pair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(ENTRY), "cloud", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd="/",
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )  # fmt: skip
        self._end = weakref.finalize(self, _end, self._process, self._channel)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def close(self) -> None:
        """End the process now; a second call does nothing."""
        self._end()

    def ask(self, frame: Frame) -> tuple[Frame, int, int]:
        """Send one frame and return (the reply, bytes sent, bytes received).

        Raises VariantFailed if the process failed or is gone.
        """
        self.send(frame)
        reply = self.receive()
        return (
            reply,
            split_socket.HEADER.size + len(frame.payload),
            split_socket.HEADER.size + len(reply.payload),
        )

    def send(self, frame: Frame) -> int:
        """Send one frame and return its size in bytes. Raises VariantFailed if the process is gone."""
        try:
            return split_socket.send(self._channel, frame)
        except Gone as bad:
            raise self._lost(bad) from None

    def receive(self) -> Frame:
        """Wait for one frame. Raises VariantFailed if it reports a failure, or if the process is gone."""
        try:
            reply = split_socket.receive(self._channel)
        except Gone as bad:
            raise self._lost(bad) from None
        if reply.op == Op.FAILED:
            outcome, _, reason = reply.payload.decode(errors="replace").partition(":")
            raise VariantFailed(Outcome(outcome), f"the cloud process: {reason[:600]}")
        return reply

    def stream(self, tensors: Iterable[Any]) -> None:
        """Send the bytes of tensors, one after the other. Raises VariantFailed if the process is gone."""
        for tensor in tensors:
            try:
                self._channel.sendall(split_socket.view(tensor.detach().cpu().contiguous()))
            except OSError as bad:
                raise self._lost(Gone(bad.strerror or type(bad).__name__)) from None

    def _lost(self, why: Gone) -> VariantFailed:
        try:
            code: int | str = self._process.wait(LEAVES_WITHIN_S)
        except subprocess.TimeoutExpired:
            code = "none yet"
        return VariantFailed(Outcome.RUN_ERROR, f"the cloud process is gone ({why}; exit code {code})")


def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection on the loopback device.

    Another program may connect to the listener first; its connection is closed.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        ours = socket.create_connection(listener.getsockname())
        while True:
            theirs, address = listener.accept()
            if address == ours.getsockname():
                break
            theirs.close()
    for end in (ours, theirs):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def _end(process: subprocess.Popen[bytes], channel: socket.socket) -> None:
    """Close the connection and end the process."""
    channel.close()
    process.kill()
    process.wait()
