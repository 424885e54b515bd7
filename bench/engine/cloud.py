"""Start, use and end the second process of a split model, which plays the cloud.

It is a real process with a real TCP connection on this machine.
"""

from __future__ import annotations

import socket
import subprocess
import weakref
from collections.abc import Iterable
from typing import Any

from bench.engine import further, split_socket
from bench.engine.split_socket import Frame, Gone, Op
from bench.errors import Outcome, VariantFailed

LEAVES_WITHIN_S = 2.0  # how long to wait for the exit code of a process that closed its connection


class Cloud:
    """Own the cloud's process and the connection to it. The process ends with this object at the latest."""

    def __init__(self) -> None:
        self._channel, theirs = connected_pair()
        self._process = further.started("cloud", theirs)
        self._end = weakref.finalize(self, further.end, [self._process], [self._channel])

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
