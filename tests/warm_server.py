"""The process behind ``warm.py``: it imports an engine once, and forks for each program that is asked for.

``warm_server.py engine|fake SOCKET PARENT``. A program is a grandchild of this process whose parent has
ended. So it becomes a child of ``PARENT``, which takes in orphans while it asks. No thread runs here when it
forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HIGH = 512  # received descriptors wait here, above all numbers that a program may want


def preload_engine() -> None:
    """Load what every worker loads, with the packages hidden that it hides, and decode once."""
    from bench.models.fetch import ensure
    from bench.models.reference import Random
    from bench.worker import session

    options = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": True}
    session.load({
        "directory": str(ensure(Random("tiny-llama")).directory), "optimise": [], "options": options,
        "runtime": "bench.runtimes.transformers", "step_by_step": True,
    })  # fmt: skip


def preload_fake() -> None:
    """Be the interpreter of ``fakes.interpreter``."""
    sys.path.insert(0, str(ROOT / "tests"))
    import fake_worker

    fake_worker.prepare()
    importlib.import_module("bench.runtimes.fake")


def serve(channel: socket.socket, parent: int) -> dict[str, Any]:
    """In a program: what was asked for, once it is set up. In the server: nothing, when its socket closes."""
    while True:
        said, descriptors, _flags, _address = socket.recv_fds(channel, 1 << 18, 8)
        if not said:
            return {}
        reading, writing = os.pipe()
        if (middle := os.fork()) == 0:
            if os.fork():
                os._exit(0)
            os.setsid()  # who is told of it may end the whole session
            os.write(writing, os.getpid().to_bytes(8, "little"))
            channel.detach()
            asked: dict[str, Any] = json.loads(said)
            set_up(asked, descriptors, parent)
            return asked
        os.waitpid(middle, 0)
        channel.send(os.read(reading, 8))
        for one in (reading, writing, *descriptors):
            os.close(one)


def set_up(asked: dict[str, Any], descriptors: list[int], parent: int) -> None:
    """Take the parent, descriptors, directory and environment of the program. The first two
    descriptors are its output and its errors, the others get the numbers that it asks for: 0 is its input."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    while os.getppid() != parent:
        time.sleep(0.001)
    kept = [os.dup2(one, HIGH + place) for place, one in enumerate(descriptors)]
    os.closerange(3, HIGH)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, one in zip((1, 2, *asked["numbers"]), kept, strict=True):
        os.dup2(one, number)
    os.closerange(HIGH, HIGH + len(kept))
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])


def run(words: list[str]) -> None:
    """Do what ``python WORDS`` does: run a file, ``-m MODULE`` or ``-c CODE``."""
    kind, sys.argv = words[0], words
    if kind == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = [kind, *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, str(ROOT))  # a worker's environment keeps the directory of this file out
    {"engine": preload_engine, "fake": preload_fake}[sys.argv[1]]()
    from bench.worker import loop  # noqa: F401 - with all that its commands import

    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[2])) as ours:
        ours.send(b"ready")
        program = serve(ours, int(sys.argv[3]))
    if program:
        run(program["argv"])
