"""Nothing of a command is left behind, however it ends and wherever its children went."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest

from bench import environments
from bench.errors import BenchError
from bench.formatting import printable
from bench.machine.children import environment, last_lines
from bench.machine.proc import stat_of
from bench.machine.process_tree import MOST_BYTES, printed_too_much, run_whole
from bench.models.child import run_child
from bench.sides import git as sides_git

# How a grandchild may try to stay: as any other, in a session of its own, or as a daemon.
WAYS = {
    "a child": "sleep 300 & echo $! > {pid}",
    "a session": "setsid sh -c 'echo $$ > {pid}; exec sleep 300' &",
    "a daemon": "(setsid sh -c 'echo $$ > {pid}; exec sleep 300' > /dev/null 2>&1 &)",
    "without the mark": "env -i /bin/sleep 300 & echo $! > {pid}",
}
LIMIT_S = 60.0


def gone(file: Path) -> bool:
    """Whether the process whose id is in the file has ended."""
    for _ in range(500):
        if stat_of(int(file.read_text()))[:1] in ([], ["Z"]):
            return True
        sleep(0.01)
    return False


def script(way: str, pid: Path, then: str) -> list[str]:
    """A command that starts a grandchild, prints a word, leaves a mark beside ``pid`` and goes on."""
    started = f"while [ ! -s {pid} ]; do sleep 0.01; done"
    return ["/bin/sh", "-c", f"{WAYS[way].format(pid=pid)}\n{started}\necho said; : > {pid}.ready; {then}"]


def until_ready(pid: Path) -> None:
    while not pid.with_name(f"{pid.name}.ready").exists():
        sleep(0.01)


@pytest.fixture
def pid(tmp_path: Path) -> Path:
    return tmp_path / "pid"


def ends(monkeypatch: pytest.MonkeyPatch, pid: Path, how: Callable[[], BaseException]) -> None:
    """Let a wait of ``LIMIT_S`` end as soon as the command has done its work: no test waits for a clock."""
    wait = subprocess.Popen.wait

    def soon(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout == LIMIT_S:
            until_ready(pid)
            raise how()
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", soon)


def too_late() -> BaseException:
    return subprocess.TimeoutExpired("a command", LIMIT_S)


@pytest.mark.parametrize("way", WAYS)
def test_a_command_that_takes_too_long(way: str, pid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, pid, too_late)
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run_whole(script(way, pid, "sleep 300"), environment(), LIMIT_S)
    assert gone(pid)
    assert last_lines(late.value) == (
        "no end within 60 s, so it was ended, with all that it had started\n  said"
    )


def test_what_a_command_printed_is_told_without_secrets() -> None:
    """Results and reports show it. A line is cut after that, or half a password would be left."""
    line = f"fatal: https://ci:{'secret' * 200}@host.example/a.git"
    failed = subprocess.CalledProcessError(1, "git", stderr=line)
    assert last_lines(failed) == "fatal: https://***@host.example/a.git"
    refused = OSError(2, "no such file", "https://ci:secret@host.example/a.git")
    assert "secret" not in last_lines(refused)


def test_a_command_that_git_suggests_can_be_copied() -> None:
    """It stands after a tab, which a message would show as a control character."""
    said = "fatal: detected dubious ownership\nTo add an exception, call:\n\n\tgit config --global\n"
    shown = last_lines(subprocess.CalledProcessError(128, "git", stderr=said))
    assert shown.splitlines()[-1] == "      git config --global"
    assert printable(shown) == shown


def test_an_output_that_is_wanted_whole_has_a_bound() -> None:
    """Of any other, the end is kept."""
    endless = ["head", "-c", "80000000", "/dev/zero"]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run_whole(endless, environment(), LIMIT_S, whole=True)
    assert printed_too_much(failed.value)
    assert len(run_whole(endless, environment(), LIMIT_S).stdout) == MOST_BYTES
    assert run_whole(["/bin/echo", "said"], environment(), LIMIT_S, whole=True).stdout == "said\n"


def test_the_clock_itself() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_whole(["/bin/sleep", "300"], environment(), 0.1)


@pytest.mark.parametrize(("then", "code"), [("exit 0", 0), ("exit 3", 3)])
@pytest.mark.parametrize("way", ["a child", "a daemon"])
def test_a_command_that_ends_leaves_nobody(way: str, then: str, code: int, pid: Path) -> None:
    """A pipe that a grandchild holds keeps nobody waiting either."""
    command = script(way, pid, then)
    if code:
        with pytest.raises(subprocess.CalledProcessError) as failed:
            run_whole(command, environment(), LIMIT_S)
        assert failed.value.returncode == code
    else:
        assert run_whole(command, environment(), LIMIT_S).stdout == "said\n"
    assert gone(pid)


def test_what_git_leaves_behind_may_go_on(pid: Path) -> None:
    run_whole(script("a child", pid, "exit 0"), environment(), LIMIT_S, may_leave=True)
    left = int(pid.read_text())
    assert stat_of(left)[:1] not in ([], ["Z"])
    os.kill(left, 9)


def test_an_interrupt_ends_it_too(pid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(monkeypatch, pid, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run_whole(script("a child", pid, "sleep 300"), environment(), LIMIT_S)
    assert gone(pid)


def _an_engine(command: list[str]) -> None:
    environments._run(command, "the packages of x")


def _git(command: list[str]) -> None:
    sides_git.git(Path("/"), "-c", f"alias.x=!{command[2]}", "x")


@pytest.mark.parametrize(
    ("run", "named"),
    [
        (_an_engine, "cannot make the packages of x: no end within 60 s"),
        (_git, "git x failed in /: no end within 60 s"),
    ],
)
def test_each_command_that_can_take_long(
    run: Callable[[list[str]], None], named: str, pid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Builds of commits and of serving engines have tests of their own."""
    monkeypatch.setattr(environments, "INSTALL_S", LIMIT_S)
    monkeypatch.setattr(sides_git, "GIT_S", LIMIT_S)
    ends(monkeypatch, pid, too_late)
    with pytest.raises(BenchError, match=named):
        run(script("a child", pid, "sleep 300"))
    assert gone(pid)


def test_a_fetch_that_is_given_up(pid: Path) -> None:
    """``watch`` is called while the child works; its limit of seconds ends the child in the same way."""

    def watch() -> None:
        if pid.with_name("pid.ready").exists():
            raise BenchError("enough")

    program = f"import subprocess; subprocess.run({script('a child', pid, 'sleep 300')!r})"
    with pytest.raises(BenchError, match="enough"):
        run_child(["-c", program], environment(), watch)
    assert gone(pid)


@pytest.mark.parametrize(
    "run",
    [
        "run_whole(['/bin/sh', '-c', code], dict(os.environ), 300)",
        "run_child(['-c', child], {}, lambda: None)",
    ],
)
def test_a_command_ends_if_we_are_killed(run: str, pid: Path) -> None:
    """A conversion that holds a model went on when the kernel had killed its command for want of memory."""
    code = f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 300"
    child = f"import os; os.execv('/bin/sh', ['sh', '-c', {code!r}])"
    program = (
        "import os\nfrom bench.machine.process_tree import run_whole\n"
        "from bench.models.child import run_child\n"
        f"code, child = {code!r}, {child!r}\n{run}"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL) as killed:
        while not pid.exists():
            sleep(0.01)
        killed.kill()
    assert gone(pid)
