"""The time that a thread takes for itself: without waiting for a processor, and with everything else."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.worker import own_time
from bench.worker.own_time import Elsewhere, OwnTime

Patch = pytest.MonkeyPatch
SPIN = "while True: pass"
ECHO = """
import sys, time
for line in sys.stdin:
    end = time.thread_time() + float(line)
    while time.thread_time() < end: pass
    print("done", flush=True)
"""
THREADED = """
import hashlib, sys, threading, time
def work(): hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)
for line in sys.stdin:
    thread = threading.Thread(target=work)
    thread.start()
    work()
    while thread.is_alive(): pass
    print("done", flush=True)
"""


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.fixture
def one_processor() -> Iterator[int]:
    """This thread and all its children share the last processor."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(everywhere)})
    yield max(everywhere)
    os.sched_setaffinity(0, everywhere)


@pytest.fixture
def rival(one_processor: int) -> Iterator[None]:
    """A process that never stops, on the same processor."""
    with subprocess.Popen([sys.executable, "-S", "-c", SPIN]) as busy:
        yield
        busy.kill()


@pytest.mark.usefixtures("rival")
def test_waiting_for_a_processor_does_not_count() -> None:
    time.sleep(0.2)
    with OwnTime() as clock:
        began, own, waited = time.perf_counter_ns(), clock.now_ns(), clock.waited_ns()
        compute(0.1)
        wall, own, waited = time.perf_counter_ns() - began, clock.now_ns() - own, clock.waited_ns() - waited
    assert 0.2 * wall < waited < 0.98 * wall
    assert own == pytest.approx(wall - waited, abs=3e7)
    assert own >= 0.1e9


def test_sleeping_counts() -> None:
    with OwnTime() as clock:
        began = clock.now_ns()
        time.sleep(0.03)
        assert clock.now_ns() - began >= 0.03e9


@pytest.mark.usefixtures("rival")
def test_the_wait_of_a_program_that_computes_for_us_does_not_count_either() -> None:
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=-1, stdout=-1, text=True, bufsize=1) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write("0.01\n")
        program.stdout.readline()
        with OwnTime([program.pid]) as clock, OwnTime() as without:
            began, own, alone = time.perf_counter_ns(), clock.now_ns(), without.now_ns()
            program.stdin.write("0.1\n")
            program.stdout.readline()
            wall, own, alone = (
                time.perf_counter_ns() - began, clock.now_ns() - own, without.now_ns() - alone,
            )  # fmt: skip
        program.stdin.close()
    assert own < 0.9 * wall
    assert own < 0.9 * alone


def test_a_thread_that_loses_its_processor_between_two_readings_reads_again(monkeypatch: Patch) -> None:
    """Otherwise its wait would be subtracted from a time that does not hold it."""
    waits, nows = iter([[5], [9], [9]]), iter([100, 200])
    monkeypatch.setattr(OwnTime, "_waits_ns", lambda _self: next(waits))
    monkeypatch.setattr(own_time, "perf_counter_ns", lambda: next(nows))
    with OwnTime() as clock:
        assert clock.now_ns() == 200 - 9


@pytest.mark.usefixtures("rival")
def test_own_time_is_never_less_than_what_a_program_computes() -> None:
    """The thread that asked it waits for the same processor meanwhile, and that is no time of the program."""
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=-1, stdout=-1, text=True, bufsize=1) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for _ in range(10):
            with OwnTime([program.pid]) as clock:
                own, used = clock.now_ns(), own_time._first_thread_ns(program.pid)
                program.stdin.write("0.03\n")
                compute(0.002)
                program.stdout.readline()
                own, used = clock.now_ns() - own, own_time._first_thread_ns(program.pid) - used
            assert own >= 0.75 * used  # its last wait for the request before may be counted in this one
        program.stdin.close()


@pytest.mark.parametrize("content", [None, "", "0 0 0\n", "not a number\n"])
def test_a_kernel_that_does_not_count(monkeypatch: Patch, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "schedstat"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(own_time, "THIS_THREAD", path)
    with pytest.raises((OSError, ValueError)), OwnTime():
        pass
    assert share_of(lambda: compute(0.01)) is None


def share_of(work: Callable[[], object]) -> float | None:
    with Elsewhere(()) as elsewhere:
        with elsewhere.counted():
            work()
        return elsewhere.share()


def in_a_thread(seconds: float = 0.05) -> None:
    thread = threading.Thread(target=compute, args=(seconds,))
    thread.start()
    thread.join()


def beside_a_child() -> None:
    """The child has ended before anybody waits for it, so the thread does not sleep."""
    child = subprocess.Popen([sys.executable, "-S", "-c", "sum(range(3_000_000))"])
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        compute(0.001)
    child.wait()


@pytest.mark.parametrize(
    ("work", "low", "high"),
    [
        (lambda: compute(0.2), 0.0, 0.05),
        (lambda: time.sleep(0.05), 0.8, 1.0),  # what it waits for may be working for the partner
        (in_a_thread, 0.1, 100.0),
        (beside_a_child, 0.1, 100.0),
    ],
)
def test_what_happens_elsewhere(work: Callable[[], object], low: float, high: float) -> None:
    found = share_of(work)
    assert found is not None
    assert low <= found <= high


@pytest.mark.usefixtures("rival")
def test_a_busy_machine_does_not_make_the_share_small() -> None:
    """It is one of the thread's own time, without its waits for the processor."""
    time.sleep(0.1)

    def work() -> None:
        compute(0.1)
        in_a_thread(0.1)

    found = share_of(work)
    assert found is not None
    assert found >= 0.1


def test_a_request_of_a_microsecond_computes_nothing_elsewhere() -> None:
    """The clocks of the thread and of the process are not read at the same moment. Other threads of this
    process may have done something in one of them."""
    shares = sorted(share_of(lambda: None) or 0.0 for _ in range(20))
    assert shares[10] < 0.01
    assert shares[-1] < 0.1


def test_a_machine_that_is_stopped_between_two_readings(monkeypatch: Patch) -> None:
    """The clock of the thread goes on meanwhile, if the host says nothing of it. It is read again."""
    threads, processes = iter([100, 9_000_100, 9_000_200, 9_000_300]), iter([9_000_090, 9_000_250])
    monkeypatch.setattr(own_time, "thread_time_ns", lambda: next(threads))
    monkeypatch.setattr(own_time, "process_time_ns", lambda: next(processes))
    assert own_time._both_ns() == (9_000_250, 9_000_200)


def test_clocks_that_take_long_are_read_nevertheless(monkeypatch: Patch) -> None:
    now = itertools.count(0, 10**6)
    monkeypatch.setattr(own_time, "thread_time_ns", lambda: next(now))
    monkeypatch.setattr(own_time, "process_time_ns", lambda: next(now))
    process, thread = own_time._both_ns()
    assert process - thread == 10**6


def test_a_child_that_goes_on_is_elsewhere_too() -> None:
    """And what it has computed before does not count."""
    with subprocess.Popen([sys.executable, "-S", "-c", SPIN]) as child:
        time.sleep(0.3)
        found = share_of(lambda: compute(0.3))
        child.kill()
    assert found is not None
    assert found >= 0.1


@pytest.mark.parametrize(("code", "low", "high"), [(ECHO, 0.0, 0.3), (THREADED, 0.1, 100.0)])
def test_other_threads_of_a_program_are_elsewhere_even_if_it_never_sleeps(
    code: str, low: float, high: float, one_processor: int
) -> None:
    """Its first thread computes all the time, so nothing is missing from the wall time."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, bufsize=1) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write("0.01\n")
        program.stdout.readline()
        with Elsewhere((program.pid,)) as elsewhere:
            with elsewhere.counted():
                program.stdin.write("0.1\n")
                program.stdout.readline()
            found = elsewhere.share()
        program.stdin.close()
    assert found is not None
    assert low <= found <= high


def test_files_are_closed() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - it counts descriptors
    with pytest.raises(OSError, match="99999999"), OwnTime([99999999]):
        pass
    for _ in range(3):
        share_of(lambda: None)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("knows", ["ticks", "nothing"])
def test_a_kernel_that_has_no_clock_of_another_process(monkeypatch: Patch, knows: str) -> None:
    """What it does not say is not taken for no work."""

    def no_clock(_clock: int) -> int:
        raise OSError

    monkeypatch.setattr(own_time, "clock_gettime_ns", no_clock)
    if knows == "nothing":
        monkeypatch.setattr(own_time, "stat_of", lambda _pid: [])
    with subprocess.Popen([sys.executable, "-S", "-c", SPIN]) as child:
        found = share_of(lambda: compute(0.3))
        child.kill()
    assert (found or 0.0) >= 0.1 if knows == "ticks" else found is None


def test_children_that_leave_no_times_when_they_end(monkeypatch: Patch) -> None:
    monkeypatch.setattr(own_time.signal, "getsignal", lambda _number: signal.SIG_IGN)
    assert share_of(lambda: compute(0.05)) is None
