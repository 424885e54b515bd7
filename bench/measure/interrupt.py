"""Handle Ctrl-C, SIGTERM and SIGHUP during a run.

The first Ctrl-C ends the run after the current stage, the second one ends it at once. SIGTERM ends it at
once, and so does SIGHUP, which a terminal sends when it is closed. Ending a run means stopping its workers
and writing a record; no further signal disturbs that.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType

from bench.errors import InterruptedRun, TerminatedRun

# Python drops an exception that a signal handler raises inside a finaliser or a callback of the garbage
# collector. A SIGTERM that had no effect for this long is therefore raised once more; a run that takes longer
# to wind down, on a busy machine, is not disturbed.
AGAIN_S = 3.0


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a run at once. Whoever started us with ``nohup`` has SIGHUP ignored."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM,) if ignored else (signal.SIGTERM, signal.SIGHUP)


def winding_down(outside: BaseException | None = None) -> bool:
    """Return whether the interrupted code is already ending because of an earlier signal, in a ``finally`` or
    ``except`` block or on the way out of a ``with`` block. What is ``outside`` does not count."""
    return by_a_signal(sys.exc_info()[1], outside)


def by_a_signal(error: BaseException | None, outside: BaseException | None = None) -> bool:
    """Return whether an error is a signal that ends the run, or came while one was handled: code that turns
    errors into others may have taken it for one of its own. What is ``outside`` does not count."""
    while error is not None and error is not outside:
        if isinstance(error, TerminatedRun | KeyboardInterrupt):
            return True
        error = error.__context__
    return False


class Interrupt:
    """A context manager that turns the first Ctrl-C into a request, which ``check`` acts on. SIGTERM raises
    TerminatedRun immediately, because its sender rarely waits longer than ten seconds."""

    def __init__(self) -> None:
        self._asked = self._settled = False
        self._outside = sys.exc_info()[1]  # an exception that the caller handles does not end this run

    def __enter__(self) -> Interrupt:
        handlers = {signal.SIGINT: self._handle, signal.SIGALRM: self._terminate}
        handlers |= dict.fromkeys(ending_signals(), self._terminate)
        self._before = {number: signal.signal(number, each) for number, each in handlers.items()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            if not self._settled and not winding_down(self._outside):
                raise KeyboardInterrupt
            return
        self._asked = True
        with suppress(RuntimeError):  # it came in the middle of another line that waits for its reader
            print("\nstopping after this stage; Ctrl-C again stops now", file=sys.stderr)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        if not self._settled:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            if not winding_down(self._outside):
                raise TerminatedRun("terminated")

    def ended(self, error: BaseException) -> bool:
        """Return whether a signal ended the run, also if ``error`` is what other code made of it."""
        return by_a_signal(error, self._outside)

    def settle(self) -> None:
        """Ignore signals from now on, because the run has ended and its summary is being written."""
        self._settled = True
        signal.setitimer(signal.ITIMER_REAL, 0)

    def check(self) -> None:
        """Raise InterruptedRun if Ctrl-C was pressed; called between stages."""
        if self._asked:
            raise InterruptedRun("interrupted")
