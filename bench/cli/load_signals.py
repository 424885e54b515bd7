"""Ctrl-C and SIGTERM while `bench load` measures: what has ended until then is kept."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType, TracebackType
from typing import TypeVar

from bench.errors import ExitCode, InterruptedRun, TerminatedRun
from bench.serving.load import INTERRUPTED, Load

NOTHING = "interrupted before a request had ended: nothing was measured"
Answer = TypeVar("Answer")


class Ending:
    """What a signal does to a load, and the exit code that it gives.

    While requests are sent, SIGTERM cancels them as Ctrl-C does (``heeding``). Otherwise it raises
    TerminatedRun. From ``settle`` on, when only the server is to be stopped and the files to be written, both
    signals are ignored.
    """

    def __init__(self) -> None:
        self.exit_code = ExitCode.INTERRUPTED

    def __enter__(self) -> Ending:
        self._before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, handler in self._before.items():
            if handler is not None:  # one that was not set from Python cannot be put back
                signal.signal(one, handler)

    async def heeding(self, work: Coroutine[object, object, Answer]) -> Answer:
        """Await ``work``, which SIGTERM cancels from now on; call it in the main task of an event loop."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            self.exit_code = ExitCode.TERMINATED
            task.cancel()

        loop.add_signal_handler(signal.SIGTERM, cancel)
        try:
            return await work
        except asyncio.CancelledError:
            if self.exit_code == ExitCode.TERMINATED:
                raise TerminatedRun(NOTHING) from None
            raise
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, self._terminate)

    def settle(self) -> None:
        """Ignore both signals from now on."""
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)

    def must_have(self, load: Load) -> None:
        """Raise InterruptedRun if a load was ended before any of its requests was."""
        if load.stopped == INTERRUPTED and not load.samples:
            terminated = self.exit_code == ExitCode.TERMINATED
            raise TerminatedRun(NOTHING) if terminated else InterruptedRun(NOTHING)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        self.exit_code = ExitCode.TERMINATED
        raise TerminatedRun(NOTHING)
