"""Handle Ctrl-C, SIGTERM and SIGHUP while `bench load` measures, so that finished requests are kept."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import TypeVar

from bench.errors import ExitCode, InterruptedRun, TerminatedRun
from bench.measure.interrupt import ending_signals
from bench.serving.load import INTERRUPTED, Load

NOTHING = "interrupted before a request had ended: nothing was measured"
Answer = TypeVar("Answer")


class Ending:
    """The effect of signals on a load, and the exit code that follows.

    While requests are being sent (``heeding``), SIGTERM cancels them as Ctrl-C does. Before and after that it
    raises TerminatedRun. SIGHUP, of a terminal that is closed, does the same. After ``settle`` all are
    ignored, because only the server must still be stopped and the files written.
    """

    def __init__(self) -> None:
        self.exit_code = ExitCode.INTERRUPTED
        self._ending = ending_signals()

    def __enter__(self) -> Ending:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, *self._ending)}
        self._terminates()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # a handler that was not installed by Python cannot be restored
                signal.signal(number, handler)

    async def heeding(self, work: Coroutine[object, object, Answer]) -> Answer:
        """Await ``work``, and let SIGTERM cancel it. Call this in the main task of an event loop."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            self.exit_code = ExitCode.TERMINATED
            task.cancel()

        for number in self._ending:
            loop.add_signal_handler(number, cancel)
        try:
            return await work
        except asyncio.CancelledError:
            if self.exit_code == ExitCode.TERMINATED:
                raise TerminatedRun(NOTHING) from None
            raise
        finally:
            for number in self._ending:
                loop.remove_signal_handler(number)
            self._terminates()

    def settle(self) -> None:
        """Ignore all of them from now on."""
        for number in (signal.SIGINT, *self._ending):
            signal.signal(number, signal.SIG_IGN)

    def must_have(self, load: Load) -> None:
        """Raise InterruptedRun or TerminatedRun if a load was interrupted before any request had ended."""
        if load.stopped == INTERRUPTED and not load.samples:
            terminated = self.exit_code == ExitCode.TERMINATED
            raise TerminatedRun(NOTHING) if terminated else InterruptedRun(NOTHING)

    def _terminates(self) -> None:
        for number in self._ending:
            signal.signal(number, self._terminate)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        self.exit_code = ExitCode.TERMINATED
        raise TerminatedRun(NOTHING)
