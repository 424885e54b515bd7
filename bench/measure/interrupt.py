"""Handle Ctrl-C and SIGTERM during a run.

The first Ctrl-C ends the run after the current stage, the second one ends it at once. SIGTERM ends it at
once. Ending a run means stopping its workers and writing a record; no further signal disturbs that.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType

from bench.errors import InterruptedRun, TerminatedRun

# Python drops an exception that a signal handler raises inside a finaliser or a callback of the garbage
# collector. A SIGTERM that had no effect for this long is therefore raised once more; a run that takes longer
# to wind down, on a busy machine, is not disturbed.
AGAIN_S = 3.0


class Interrupt:
    """A context manager that turns the first Ctrl-C into a request, which ``check`` acts on. SIGTERM raises
    TerminatedRun immediately, because its sender rarely waits longer than ten seconds."""

    def __init__(self) -> None:
        self._asked = self._settled = False
        self._outside = sys.exc_info()[1]  # an exception that the caller handles does not end this run

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._handle)
        self._before_term = signal.signal(signal.SIGTERM, self._terminate)
        self._before_alarm = signal.signal(signal.SIGALRM, self._terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()
        signal.signal(signal.SIGINT, self._before)
        signal.signal(signal.SIGTERM, self._before_term)
        signal.signal(signal.SIGALRM, self._before_alarm)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            if not self._settled and not self._winding_down():
                raise KeyboardInterrupt
            return
        self._asked = True
        print("\nstopping after this stage; Ctrl-C again stops now", file=sys.stderr)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        if not self._settled:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            if not self._winding_down():
                raise TerminatedRun("terminated")

    def settle(self) -> None:
        """Ignore SIGTERM from now on, because the run has ended and its summary is being written."""
        self._settled = True
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _winding_down(self) -> bool:
        """Return whether the interrupted code is already ending the run because of an earlier signal, in a
        ``finally`` or ``except`` block or on the way out of a ``with`` block."""
        error = sys.exc_info()[1]
        while error is not None and error is not self._outside:
            if isinstance(error, TerminatedRun | KeyboardInterrupt):
                return True
            error = error.__context__
        return False

    def check(self) -> None:
        """Raise InterruptedRun if Ctrl-C was pressed; called between stages."""
        if self._asked:
            raise InterruptedRun("interrupted")
