"""Ctrl-C: once ends the run after the stage that is under way, twice ends it at once."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType

from bench.errors import InterruptedRun


class Interrupt:
    """A context manager that turns the first Ctrl-C into a request; ``check`` acts on it."""

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("\nstopping after this stage; Ctrl-C again stops now", file=sys.stderr)

    def check(self) -> None:
        """Between stages: raises InterruptedRun when Ctrl-C was pressed."""
        if self._asked:
            raise InterruptedRun("interrupted")
