"""Reading what may be gone: a directory whose files go away, threads and children that end meanwhile."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.engine import memory
from bench.machine import noise, proc
from bench.machine.proc import descendants, entries, numbers_in, text_of
from bench.measure import worker_process
from bench.measure.worker_process import WorkerProcess

GONE = [FileNotFoundError, ProcessLookupError, PermissionError]  # at the opening, at the reading, a zombie's
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux")


def test_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "statm"
    file.write_text("10 2 1\n")
    assert text_of(file) == "10 2 1"
    assert numbers_in(file) == [10, 2, 1]
    assert entries(tmp_path) == [file]


def test_what_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert (text_of(gone), numbers_in(gone), entries(gone)) == (None, [], [])


@pytest.mark.parametrize("error", GONE)
def test_what_goes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    def fails(*_arguments: object, **_names: object) -> str:
        raise error

    monkeypatch.setattr(Path, "read_text", fails)
    monkeypatch.setattr(Path, "iterdir", fails)
    assert (text_of(tmp_path), numbers_in(tmp_path), entries(tmp_path)) == (None, [], [])


def test_a_file_emptied_by_its_end_has_no_numbers(tmp_path: Path) -> None:
    file = tmp_path / "statm"
    file.write_text("")
    assert numbers_in(file) == []


LOWERED = """
import os, resource, sys, time
from contextlib import suppress
from bench.models.child import Limits, run_child
from bench.worker.__main__ import _limit_memory
low = 3 << 30
resource.setrlimit(resource.RLIMIT_DATA, (low, low))
ask = "import resource, sys, time; time.sleep(0.3); sys.exit(str(resource.getrlimit(resource.RLIMIT_DATA)))"
print(run_child(["-c", ask], os.environ, lambda: None, Limits(30, 2 * low))[1].strip())
_limit_memory(2 * low)
print(resource.getrlimit(resource.RLIMIT_DATA))
"""


@needs_proc
def test_a_limit_of_the_shell_is_not_raised() -> None:
    """The kernel lets root do it, and refuses it to everybody else with an error (`ulimit -d`)."""
    said = subprocess.run(
        [sys.executable, "-c", LOWERED], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.splitlines() == [str((3 << 30, 3 << 30))] * 2


# ---- those who read ------------------------------------------------------------------------------


HOLDER = "held = bytearray(64 << 20); print(flush=True); input()"


@needs_proc
def test_memory_of_a_program_behind_a_shell_is_counted_and_of_one_that_ended_is_not() -> None:
    """A command of a config is often a script that starts the program, and waits for it."""
    before = memory._programs()
    with subprocess.Popen(
        ["/bin/sh", "-c", f"{sys.executable} -c '{HOLDER}'; :"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        assert memory._programs() - before > 64 << 20
        shell.communicate(b"\n", timeout=60)
    assert memory._programs() <= before


def test_a_process_that_goes_while_its_ticks_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (None, "", "7 (a name) R 1"):
        monkeypatch.setattr(proc, "text_of", lambda _path, text=text: text)
        assert noise._ticks_of(7) == 0


@needs_proc
def test_the_time_of_a_worker_is_that_of_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not somebody else who uses the machine, also in another session, or where the kernel keeps no
    list of children."""
    child = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.run([sys.executable, '-c', {child!r}])\n"
        f"busy = [sys.executable, '-c', {child!r} + '\\ntime.sleep(60)']\n"
        "alive = subprocess.Popen(busy, start_new_session=True)\n"
        "time.sleep(1.5); print(alive.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        child_pid = int(leader.stdout.readline())
        try:
            assert proc.session_of(leader.pid) == [leader.pid]
            assert proc.tree_of(leader.pid) == [leader.pid, child_pid]
            monkeypatch.setattr(proc, "OWN_CHILDREN", Path("/none"))
            assert proc.tree_of(leader.pid) == [leader.pid, child_pid]
            before = noise.read_ticks()
            assert noise.read_ticks([leader.pid]).own - before.own >= 50, "two children of 0.3 s each"
        finally:
            os.killpg(leader.pid, 9)
            os.kill(child_pid, 9)


@contextmanager
def storm() -> Iterator[None]:
    """Threads that start and end all the time, two at once."""
    over = threading.Event()

    def start_and_end() -> None:
        while not over.is_set():
            short = threading.Thread(target=int)
            short.start()
            short.join()

    starters = [threading.Thread(target=start_and_end) for _ in range(2)]
    for starter in starters:
        starter.start()
    try:
        yield
    finally:
        over.set()
        for starter in starters:
            starter.join()


@needs_proc
def test_memory_in_a_storm_of_threads() -> None:
    with storm():
        peaks = [memory.read_peak()["peak_rss_bytes"] for _ in range(200)]
    assert all(peak is not None and peak > 0 for peak in peaks)


@needs_proc
def test_memory_and_ticks_while_children_come_and_go() -> None:
    over = threading.Event()

    def spawn() -> None:
        while not over.is_set():
            subprocess.run(["/bin/true"], check=True)

    spawner = threading.Thread(target=spawn)
    spawner.start()
    try:
        for _ in range(200):
            memory.read_peak()
            noise.read_ticks(descendants(os.getpid()))
    finally:
        over.set()
        spawner.join()


STARTER = """
import threading
over = threading.Event()
def start_and_stay():
    while not over.is_set():
        threading.Thread(target=over.wait, args=(0.02,)).start()
        over.wait(0.0005)
threading.Thread(target=start_and_stay).start()
print(flush=True)
input()
over.set()
"""


@needs_proc
def test_threads_that_start_while_the_others_are_bound_are_bound_too(tmp_path: Path) -> None:
    everywhere = sorted(os.sched_getaffinity(0))
    under = WorkerProcess("variant", tmp_path / "log")
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as under._process:
        child = under._process
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        for turn in range(50):
            wanted = {everywhere[-1 if turn % 2 else 0]}
            under.pin(sorted(wanted))
            assert bound(under.pid) <= wanted
        child.stdin.write(b"\n")
        child.stdin.close()


def bound(pid: int) -> set[int]:
    """Every processor that a thread of this process may use."""
    found: set[int] = set()
    for task in entries(Path(f"/proc/{pid}/task")):
        try:
            found |= os.sched_getaffinity(int(task.name))
        except ProcessLookupError:
            continue
    return found


def test_a_thread_that_is_gone_needs_no_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_arguments: object) -> set[int]:
        raise ProcessLookupError

    monkeypatch.setattr(os, "sched_getaffinity", gone)
    assert worker_process._moved(7, {0}) is False
    monkeypatch.setattr(os, "sched_getaffinity", lambda _thread: {1})
    monkeypatch.setattr(os, "sched_setaffinity", gone)
    assert worker_process._moved(7, {0}) is False


def test_a_thread_started_after_the_list_was_read_is_bound_by_the_next_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {1: {0, 1}, 2: {0, 1}}
    lists = iter([[tmp_path / "1"], [tmp_path / "1", tmp_path / "2"], [tmp_path / "1", tmp_path / "2"]])
    monkeypatch.setattr(worker_process, "entries", lambda _directory: next(lists))
    monkeypatch.setattr(os, "sched_getaffinity", where.__getitem__)
    monkeypatch.setattr(os, "sched_setaffinity", where.__setitem__)
    monkeypatch.setattr(WorkerProcess, "pid", 7)
    WorkerProcess("variant", tmp_path / "log").pin([1])
    assert [set(cpus) for cpus in where.values()] == [{1}, {1}]
    assert next(lists, None) is None


@needs_proc
def test_a_child_whose_parent_is_gone_already_ends_at_once() -> None:
    """The grandchild stands for it: its parent is another than the process that was to be its parent."""
    body = (
        "import os, signal; from bench.machine.proc import ending_with_parent\n"
        "ask = ending_with_parent(signal.SIGKILL)\n"
        "if os.fork() == 0:\n"
        "    if (child := os.fork()) == 0: ask(); os._exit(7)\n"
        "    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + 100)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]) - 100)"
    )
    done = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=True)
    assert int(done.stdout) == -signal.SIGKILL


@needs_proc
def test_a_child_that_ends_with_its_parent() -> None:
    """The parent is killed, so nothing but the kernel can have ended the child."""
    body = (
        "import signal, subprocess, time; from bench.machine.proc import ending_with_parent; "
        "child = subprocess.Popen(['sleep', '60'], preexec_fn=ending_with_parent(signal.SIGTERM)); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        ended = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert select.select([ended], [], [], 30)[0] == [ended]
    finally:
        os.close(ended)
