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
from bench.runtimes import transformers_parallel
from bench.runtimes._sharded import Follower, Place
from bench.worker.exceptions import classify, reason


def serve(channel: socket.socket) -> None:
    """Load the shard that the first line names, then do what each frame says."""
    sys.excepthook = _reporter(channel)
    told = line_of(channel)
    if told is None:
        return
    directory, place = Path(told["directory"]), Place(**told["place"])
    # None of these is needed below, and transformers imports each that is there, which takes seconds.
    sys.modules.update(dict.fromkeys(transformers_parallel.not_needed(directory)))  # type: ignore[arg-type]
    model = transformers_parallel.shard(directory, Options(**told["options"]), place)
    follower = Follower(model, place)
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
