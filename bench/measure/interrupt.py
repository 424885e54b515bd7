"""Handle Ctrl-C and SIGTERM during a run.

The first Ctrl-C ends the run after the current stage, the second one ends it at once. SIGTERM ends it at
once.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType

from bench.errors import InterruptedRun, TerminatedRun


class Interrupt:
    """A context manager that turns the first Ctrl-C into a request, which ``check`` acts on. SIGTERM raises
    TerminatedRun immediately, because its sender rarely waits longer than ten seconds."""

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._handle)
        self._before_term = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        signal.signal(signal.SIGTERM, self._before_term)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("\nstopping after this stage; Ctrl-C again stops now", file=sys.stderr)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second SIGTERM must not stop the summary
        raise TerminatedRun("terminated")

    def check(self) -> None:
        """Raise InterruptedRun if Ctrl-C was pressed; called between stages."""
        if self._asked:
            raise InterruptedRun("interrupted")
