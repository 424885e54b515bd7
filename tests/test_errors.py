"""What is undone when a block fails, and what is not."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from bench.errors import InterruptedRun, OnFailure, TerminatedRun, UsageError


@pytest.mark.parametrize(
    "error",
    [UsageError("no"), KeyError("no"), KeyboardInterrupt(), SystemExit(3), TerminatedRun("no")],
    ids=lambda error: type(error).__name__,
)
def test_whatever_ends_a_block_is_undone_once_and_passes(error: BaseException) -> None:
    undone: list[str] = []
    with pytest.raises(type(error)) as caught, OnFailure(lambda: undone.append("it")):
        raise error
    assert caught.value is error
    assert undone == ["it"]


def test_a_block_that_ends_well_is_not_undone() -> None:
    undone: list[str] = []

    def block() -> int:
        with OnFailure(lambda: undone.append("it")):
            return 7

    assert block() == 7
    assert undone == []


def test_a_signal_in_the_block_is_undone() -> None:
    undone: list[str] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt), OnFailure(lambda: undone.append("it")):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert undone == ["it"]


def test_a_task_that_is_cancelled_is_undone() -> None:
    undone: list[str] = []

    async def block() -> None:
        with OnFailure(lambda: undone.append("it")):
            await asyncio.sleep(60)

    async def cancelled() -> None:
        task = asyncio.ensure_future(block())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert undone == ["it"]


def test_an_error_of_undoing_keeps_the_first_one_as_its_context() -> None:
    with pytest.raises(OSError, match="full") as caught, OnFailure(failing(OSError("full"))):
        raise UsageError("first")
    assert str(caught.value.__context__) == "first"


def failing(error: Exception) -> Callable[[], None]:
    def fails() -> None:
        raise error

    return fails


def test_what_catches_errors_does_not_catch_a_signal() -> None:
    """Of a library that we call, too: such code catches every Exception."""
    assert not issubclass(InterruptedRun, Exception)
    assert issubclass(TerminatedRun, InterruptedRun)
