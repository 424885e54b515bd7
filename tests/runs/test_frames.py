"""How many functions lie between a command and the clock, on each side of the pipe to a worker."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from fakes import FakeEngine, fake_runtime
from small_runs import small_config
from typer.testing import CliRunner

import bench
from bench.cli.main import app
from bench.engine import progress
from bench.errors import ExitCode
from bench.measure.worker_process import WorkerProcess
from bench.worker import commands, loop
from bench.worker.commands import Worker
from bench.worker.duet import Nobody
from bench.worker.protocol import ChannelClosed

__all__ = ["fake_runtime"]  # a fixture
FEWER_THAN = 14
OURS = str(Path(bench.__file__).parent)
COMMANDS = str(Path(OURS) / "cli" / "main_commands.py")


def frames() -> int:
    """How many functions of the package are running in this thread, each inside the one before; of a command,
    from its own function on."""
    frame: FrameType | None = sys._getframe()
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith(OURS)
        frame = frame.f_back if frame.f_code.co_filename != COMMANDS else None
    return count


@pytest.mark.usefixtures("fake_runtime")
def test_from_a_command_to_the_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of them is the function of ``bench run``."""
    deepest: dict[str, int] = {}
    start = WorkerProcess.start

    def counting(self: WorkerProcess, do: str, descriptors: Sequence[int], **arguments: object) -> None:
        deepest[do] = max(frames() + 1, deepest.get(do, 0))  # and this method itself
        start(self, do, descriptors, **arguments)

    monkeypatch.setattr(WorkerProcess, "start", counting)
    config = small_config(tmp_path / "c", {"fast": ()})
    done = CliRunner().invoke(app, ["run", str(config), "--out", str(tmp_path / "out")])
    assert done.exit_code == ExitCode.OK, done.output
    timed = {do: deepest[do] for do in ("warm_up", "solo", "duet")}
    assert all(5 < count < FEWER_THAN for count in timed.values()), timed


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("passes", {"do": "solo"}),
        ("duet", {"do": "duet", "batches": [0], "firsts": [[0, 0, 0]], "me": 0}),
    ],
)
def test_from_the_pipe_to_the_clock(
    module: str, message: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them is the function ``main`` of a worker, which calls ``serve``."""
    seen: list[int] = []
    begin, said, messages = Worker.__init__, list[Any](), [message]

    def loaded(self: Worker) -> None:
        begin(self)
        self.engine, self.batches, self.new_tokens = FakeEngine(), [[[1, 2]]], 3

    def clock() -> int:
        seen.append(frames() + 1)
        return len(seen)

    def heard(_channel: object, _most: int) -> tuple[dict[str, Any], list[int]]:
        if not messages:
            raise ChannelClosed("the end")
        return messages.pop(), [baton.detach()] if module == "duet" else []

    monkeypatch.setattr(Worker, "__init__", loaded)
    monkeypatch.setattr(commands, "Baton", lambda _channel, spins: Nobody())
    monkeypatch.setattr(f"bench.worker.{module}.perf_counter_ns", clock)
    monkeypatch.setattr(loop, "receive", heard)
    monkeypatch.setattr(loop, "send", lambda _channel, reply: said.append(reply))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # a worker sets both
    monkeypatch.setattr(progress, "_sink", progress._sink)
    baton, partner = socket.socketpair()
    with baton, partner:
        loop.serve(partner)
    assert [reply["ok"] for reply in said] == [True, True]
    assert 3 < max(seen) < FEWER_THAN
