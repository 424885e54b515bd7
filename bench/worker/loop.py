"""Take one command at a time, and send one reply to each.

Failures are not caught here. They end the worker through ``sys.excepthook``, which first sends the kind of
failure and its reason. A worker that has failed has nothing left to measure.
"""

from __future__ import annotations

import socket
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

from bench.engine import progress
from bench.records import Json
from bench.worker.commands import Message, Worker
from bench.worker.duet import PeerGone
from bench.worker.exceptions import classify, reason
from bench.worker.protocol import MAX_COMMAND_BYTES, ChannelClosed, receive, send

# The commands whose times are results: none may come after the profile of the same process.
TIMED = ("warm_up", "solo", "device_times", "energy", "probe", "ceilings", "duet", "alone")


def serve(channel: socket.socket) -> None:
    """Answer commands until the harness closes the channel."""
    worker = Worker()
    sys.excepthook = _reporter(channel, worker)
    progress.use(lambda text: send(channel, {"progress": text}))
    send(channel, {"ok": True, "result": {"python": sys.version.split()[0]}})
    commands: dict[str, Callable[[Message, list[int]], object]] = {
        name.rstrip("_"): getattr(worker, name) for name in vars(Worker) if not name.startswith("_")
    }
    while True:
        try:
            message, fds = receive(channel, MAX_COMMAND_BYTES)
        except ChannelClosed:
            return
        worker.stage = str(message["do"])
        assert not (worker.profiled and worker.stage in TIMED), f"{worker.stage} asked after the profile"
        try:
            reply: Json = {"ok": True, "result": commands[worker.stage](message, fds)}
        except PeerGone:
            reply = {"ok": False, "outcome": "peer_gone", "reason": "the other worker died during a duet"}
        send(channel, reply)


def _reporter(channel: socket.socket, worker: Worker) -> Callable[..., None]:
    """Return an excepthook that reports the failure to the harness and prints the traceback to the log."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        send(channel, {"ok": False, "outcome": classify(error, worker.stage), "reason": reason(error)})

    return report
