"""Signals to a run: one ends it, those that come while it winds down change nothing, and none is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from bench.errors import InterruptedRun, TerminatedRun
from bench.measure import interrupt
from bench.measure.interrupt import Interrupt

SIGNALS = [signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGINT]


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@contextmanager
def a_row(done: list[str], number: signal.Signals) -> Iterator[None]:
    """Something that winds down in a while, and is sent signals meanwhile."""
    try:
        yield
    finally:
        for _ in range(3):
            send(number)
        done.append("row")


class Worker:
    """The same by a class, in a way that catches what its end raises."""

    def __init__(self, done: list[str], number: signal.Signals) -> None:
        self.done, self.number = done, number

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        with suppress(ValueError):
            send(self.number)
            raise ValueError
        send(self.number)
        self.done.append("worker")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_winds_down_is_not_disturbed(number: signal.Signals) -> None:
    """On a busy machine that took longer than the time after which SIGTERM is raised once more: a worker was
    left alive, and the record of its row was not written."""
    done = list[str]()
    with pytest.raises(TerminatedRun), Interrupt(), a_row(done, number), Worker(done, number):
        send(signal.SIGTERM)
    assert done == ["worker", "row"]


@pytest.mark.parametrize("number", SIGNALS)
def test_ctrl_c_twice_ends_a_run_which_then_winds_down(number: signal.Signals) -> None:
    done = list[str]()

    def press_twice() -> None:
        send(signal.SIGINT)
        done.append("stage")
        send(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), Interrupt(), a_row(done, number):
        press_twice()
    assert done == ["stage", "row"]


def test_a_signal_whose_exception_was_dropped_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops what is raised in a finaliser."""

    class Finalised:
        def __del__(self) -> None:
            send(signal.SIGTERM)

    dropped = list[object]()
    monkeypatch.setattr("sys.unraisablehook", lambda found: dropped.append(found.exc_value))
    monkeypatch.setattr(interrupt, "AGAIN_S", 0.01)

    def go_on() -> None:
        Finalised()
        while True:
            time.sleep(60)

    with pytest.raises(TerminatedRun), Interrupt():
        go_on()
    assert [type(one) for one in dropped] == [TerminatedRun]


def test_nothing_ends_a_run_that_is_over() -> None:
    with Interrupt() as found:
        found.settle()
        for number in (*SIGNALS, *SIGNALS):
            send(number)


def test_a_terminal_that_is_closed_ends_a_run_unless_nohup_was_asked_for() -> None:
    with pytest.raises(TerminatedRun), Interrupt():
        send(signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt():
            send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_in_the_middle_of_a_line_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python refuses to write to a stream in the middle of a write to it, which may take long in a CI log."""

    class Busy:
        def write(self, _text: str) -> int:
            raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

    monkeypatch.setattr("sys.stderr", Busy())
    with Interrupt() as found:
        send(signal.SIGINT)
        with pytest.raises(InterruptedRun):
            found.check()
