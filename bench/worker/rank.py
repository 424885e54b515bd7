"""Run a further process of a model that is split over several devices: it repeats the worker's passes.

``__main__.py rank FD PARENT`` starts it. It leaves when the worker closes the connection.
"""

from __future__ import annotations

import json
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from bench.engine import Options
from bench.engine.ranks import line_of, received
from bench.worker.exceptions import classify, reason

NOT_NEEDED = ("hqq", "torchao", "scipy", "sklearn")  # as for any plain checkpoint: they take seconds


def serve(channel: socket.socket) -> None:
    """Load the shard that the first line names, then do what each frame says."""
    sys.excepthook = _reporter(channel)
    sys.modules.update(dict.fromkeys(NOT_NEEDED))  # type: ignore[arg-type]
    from bench.runtimes._sharded import Follower, Place
    from bench.runtimes.transformers_parallel import shard

    told = line_of(channel)
    if told is None:
        return
    place = Place(**told["place"])
    follower = Follower(shard(Path(told["directory"]), Options(**told["options"]), place), place)
    while (frame := received(channel)) is not None:
        answer = follower.do(frame)
        if answer is not None:
            channel.sendall(json.dumps(answer).encode() + b"\n")


def _reporter(channel: socket.socket) -> Callable[..., None]:
    """Return an excepthook that tells the worker what went wrong, and prints the traceback to the log."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        failed = {"failed": [classify(error, "load"), reason(error)[:600]]}
        channel.sendall(json.dumps(failed).encode() + b"\n")

    return report
