"""Nothing of a command is left behind, however it ends and wherever its children went."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest

from bench import environments
from bench.errors import BenchError
from bench.machine.children import environment, last_lines
from bench.machine.family import run_whole
from bench.machine.proc import stat_of
from bench.models import child as fetching
from bench.models.child import Limits, run_child
from bench.sides import repository

# How a grandchild may try to stay: as any other, in a session of its own, or as a daemon.
WAYS = {
    "a child": "sleep 300 & echo $! > {pid}",
    "a session": "setsid sh -c 'echo $$ > {pid}; exec sleep 300' &",
    "a daemon": "(setsid sh -c 'echo $$ > {pid}; exec sleep 300' > /dev/null 2>&1 &)",
    "without the mark": "env -i /bin/sleep 300 & echo $! > {pid}",
}


def gone(file: Path) -> bool:
    """Whether the process whose id is in the file has ended."""
    for _ in range(500):
        text = file.read_text() if file.exists() else ""
        if text.strip() and stat_of(int(text))[:1] in ([], ["Z"]):
            return True
        sleep(0.01)
    return False


def script(way: str, pid: Path, then: str) -> list[str]:
    started = f"while [ ! -s {pid} ]; do sleep 0.01; done"
    return ["/bin/sh", "-c", f"{WAYS[way].format(pid=pid)}\n{started}\necho said; {then}"]


@pytest.mark.parametrize("way", WAYS)
def test_a_command_that_takes_too_long(way: str, tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run_whole(script(way, tmp_path / "pid", "sleep 300"), environment(), 1.5)
    assert gone(tmp_path / "pid")
    assert last_lines(late.value) == (
        "no end within 1.5 s, so it was ended, with all that it had started\n  said"
    )


@pytest.mark.parametrize(("then", "code"), [("exit 0", 0), ("exit 3", 3)])
@pytest.mark.parametrize("way", ["a child", "a daemon"])
def test_a_command_that_ends_leaves_nobody(way: str, then: str, code: int, tmp_path: Path) -> None:
    """A pipe that a grandchild holds keeps nobody waiting either."""
    command = script(way, tmp_path / "pid", then)
    if code:
        with pytest.raises(subprocess.CalledProcessError) as failed:
            run_whole(command, environment(), 60)
        assert failed.value.returncode == code
    else:
        assert run_whole(command, environment(), 60).stdout == "said\n"
    assert gone(tmp_path / "pid")


def test_what_git_leaves_behind_may_go_on(tmp_path: Path) -> None:
    run_whole(script("a child", tmp_path / "pid", "exit 0"), environment(), 60, may_leave=True)
    pid = int((tmp_path / "pid").read_text())
    assert stat_of(pid)[:1] == ["S"]
    os.kill(pid, 9)


def test_an_interrupt_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout == 60:
            while not (tmp_path / "pid").exists():
                sleep(0.01)
            raise KeyboardInterrupt
        return wait(self, timeout)

    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_whole(script("a child", tmp_path / "pid", "sleep 300"), environment(), 60)
    assert gone(tmp_path / "pid")


def _a_fetch(command: list[str]) -> None:
    program = f"import subprocess; subprocess.run({command!r})"
    run_child(["-c", program], environment(), lambda: None, Limits(1.0, 2**32))


def _an_engine(command: list[str]) -> None:
    environments._run(command, "the packages of x")


def _git(command: list[str]) -> None:
    repository._git(Path("/"), "-c", f"alias.x=!{command[2]}", "x")


@pytest.mark.parametrize(
    ("run", "named"),
    [
        (_a_fetch, "it took more than 1 s, and was ended"),
        (_an_engine, "cannot make the packages of x: no end within 1.5 s"),
        (_git, "git -c failed in /: no end within 1.5 s"),
    ],
)
def test_each_command_that_can_take_long(
    run: Callable[[list[str]], None], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "INSTALL_S", 1.5)
    monkeypatch.setattr(repository, "GIT_S", 1.5)
    monkeypatch.setattr(fetching, "POLL_S", 0.05)
    with pytest.raises(BenchError, match=named):
        run(script("a child", tmp_path / "pid", "sleep 300"))
    assert gone(tmp_path / "pid")
