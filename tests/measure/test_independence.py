"""Two sides of the user's own code that use one program, or do less work beside each other."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from byte_tokenizer import write_tokenizer

from bench.errors import VariantFailed
from bench.machine.proc import stat_of
from bench.measure import designs, independence, worker_process
from bench.measure.independence import checked, listening, stopped
from bench.measure.worker_process import WorkerProcess
from bench.records import Json

SHARED = """
import os, socket, sys, threading
PLACE = os.environ["HOME"] + "/server"
def serve(server):
    while True:
        with server.accept()[0] as asked:
            asked.sendall(asked.recv(9))
def start():
    if os.path.exists(PLACE):
        return
    server = socket.socket(socket.AF_UNIX)
    server.bind(PLACE); server.listen()
    threading.Thread(target=serve, args=(server,), daemon=True).start()
start()
def answer(prompt):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(PLACE); client.sendall(b"x")
        return client.recv(9).decode()
"""
PORT = """
import socket
server = socket.socket(); server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind(("127.0.0.1", {port})); server.listen()
def answer(prompt): return prompt
"""
DAEMON = """
import os, subprocess, sys
LOOP = "import sys\\nwhile True:\\n open(sys.argv[2], 'w').write(open(sys.argv[1]).read())"
PIPES = [os.environ["HOME"] + "/" + name for name in ("asked", "said")]
if not os.path.exists(PIPES[0]):
    for place in PIPES:
        os.mkfifo(place)
    subprocess.Popen([sys.executable, "-c", LOOP, *PIPES], start_new_session=True, env={})
def answer(prompt):
    open(PIPES[0], "w").write("x")
    return open(PIPES[1]).read()
"""
ALONE = "def answer(prompt): return prompt"


def side(name: str, worker: Any) -> Any:
    arm = SimpleNamespace(name=name, is_baseline=name == "base", runtime=SimpleNamespace(name="callable"))
    context = SimpleNamespace(measure=SimpleNamespace(timeout_s=60.0))
    return SimpleNamespace(arm=arm, worker=worker, batches=3, turns=1, context=context)


UNIT = SimpleNamespace(batches=(0, 1), baseline_ns=((1,),), variant_ns=((1,),), shared=False, void="")


@contextmanager
def pair(tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two workers that have loaded the same code of the user, the second one after the first."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "serve.py").write_text(code)
    write_tokenizer(tmp_path)
    options: Json = {"device": "cpu", "dtype": "float32", "threads": 1, "attention": "sdpa", "random": False}
    load = {"runtime": "bench.runtimes.callable", "optimise": [], "directory": str(tmp_path)}
    load |= {"options": {**options, "own": {"target": "serve:answer"}}}
    prompts = [{"text": f"word {number}", "chat": False, "tokens": None} for number in range(3)]
    base, variant = (
        WorkerProcess(name, tmp_path / f"{name}.log", directory=str(tmp_path)) for name in ("base", "variant")
    )
    with base, variant:
        for worker in (base, variant):
            worker.ask("load", 60, **load)
            worker.ask("prompts", 60, prompts=prompts, batch_size=1, output_tokens=4)
        sides = side("base", base), side("variant", variant)
        warm = (SimpleNamespace(first_request_ms=1.0),) * 2
        yield SimpleNamespace(sides=sides, base=sides[0], variant=sides[1], warm=warm)


@pytest.mark.parametrize("code", [SHARED, DAEMON], ids=["a server", "a daemon"])
def test_a_program_that_both_sides_use(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second side finds that of the first one, and measures nothing of its own commit."""
    monkeypatch.setattr(independence, "PATIENCE_S", 0.5)
    monkeypatch.setattr(worker_process, "GRACE_S", 0.1)  # for a worker that waits for the other one
    why = "variant gave no answer while the processes of base were stopped: both sides use one program"
    with pair(tmp_path, code, monkeypatch) as both, pytest.raises(VariantFailed, match=why):
        checked(both, UNIT)  # type: ignore[arg-type]


def test_a_port_on_which_both_sides_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    why = rf"base and variant both listen on 127\.0\.0\.1:{port}"
    with pair(tmp_path, PORT.format(port=port), monkeypatch) as both, pytest.raises(VariantFailed, match=why):
        checked(both, UNIT)  # type: ignore[arg-type]


def test_sides_that_answer_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pair(tmp_path, ALONE, monkeypatch) as both:
        assert checked(both, UNIT) is UNIT  # type: ignore[arg-type]
        assert {stat_of(one.worker.pid)[0] for one in both.sides} <= {"S", "R"}


class Timed:
    """A worker whose answers alone take ``own_ns`` of its own time, one after the other."""

    def __init__(self, *own_ns: int) -> None:
        self._times = iter(own_ns)

    def ask(self, _do: str, _limit_s: float, **_arguments: object) -> Json:
        return {"durations_ns": [[next(self._times)]]}


@pytest.mark.parametrize(
    ("beside_ms", "alone_ms", "less"),
    [
        (50, (100, 101, 99), True),
        (50, (100, 101, 55), False),  # something else made the others long
        (50, (52,), False),
        (1, (5,), False),  # too short for a deadline
    ],
)
def test_answers_that_do_less_beside_the_other_side(
    beside_ms: int, alone_ms: tuple[int, ...], less: bool
) -> None:
    worker = Timed(*(ms * 10**6 for ms in alone_ms))
    assert independence._does_less(side("base", worker), 0, beside_ms * 10**6) is less


def test_a_pair_that_may_not_share_from_now_on() -> None:
    assert designs.may_not_share(designs.DEADLINE)
    assert designs.may_not_share(designs.OUTSIDE)
    assert not designs.may_not_share("")


def test_stopped_processes_go_on_afterwards() -> None:
    gone = 4194999  # beyond the largest process id
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as child:

        def fail() -> None:
            with stopped([child.pid, gone]):
                while stat_of(child.pid)[0] != "T":
                    pass
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        child.communicate(b"\n", timeout=60)
    assert listening([child.pid]) == set()


@pytest.mark.parametrize(
    ("batches", "asked", "found"),
    [(8, (4, 0, 1, 2, 3), 7), (8, (7, 3, 4, 5, 6), 2), (2, (1, 0), 1), (1, (0, 0), 0), (3, (5, 3), 1)],
)
def test_the_other_side_is_stopped_for_a_request_that_is_new(
    batches: int, asked: tuple[int, ...], found: int
) -> None:
    """The one that warmed the processes up has been answered too, and code may keep its answer."""
    assert independence.fresh(batches, asked) == found
