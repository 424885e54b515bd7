"""Wake at a moment, to some ten microseconds: the timers of event loops count milliseconds.

Linux has timers that are files (timerfd_create(2)). Where there are none, the loop's timers must do.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time

_CLOCK_MONOTONIC, _ABSOLUTE = 1, 1  # linux/time.h, linux/timerfd.h: that of time.monotonic_ns

LEAD_NS = 250_000  # in which a task wakes and makes its request


class _Spec(ctypes.Structure):
    """struct itimerspec: the interval, then the first moment; seconds and nanoseconds of each."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns"))


class Alarm:
    """Sleep until moments, for one task. ``close`` it within the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rings: asyncio.Future[None] | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._file = -1 if self._libc is None else _made(self._libc)
        if self._file >= 0:
            self._loop.add_reader(self._file, self._ring)

    async def until(self, due_ns: int) -> None:
        """Sleep until a moment of the monotonic clock, and never end before it."""
        while due_ns > time.monotonic_ns():
            if self._libc is None or self._file < 0:
                await asleep_until(due_ns)
                return
            self._rings = self._loop.create_future()
            spec = _Spec(0, 0, *divmod(due_ns, 10**9))
            if self._libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(spec), None) != 0:
                raise OSError(ctypes.get_errno(), "timerfd_settime")
            await self._rings

    def close(self) -> None:
        """Drop the timer."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _ring(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return  # it was set again meanwhile
        if self._rings is not None and not self._rings.done():
            self._rings.set_result(None)


def waited_until(due_ns: int) -> int:
    """Return the time, not before a moment that is at most ``LEAD_NS`` away. Nothing else runs meanwhile: a
    request that is ready goes out on time, and what is read has its time from the kernel."""
    now_ns = time.monotonic_ns()
    while now_ns < due_ns <= now_ns + LEAD_NS:
        now_ns = time.monotonic_ns()
    return now_ns


async def asleep_until(due_ns: int) -> None:
    """Sleep until a moment by the loop's timers, which may end half a millisecond early, and never do so."""
    while (left_ns := due_ns - time.monotonic_ns()) > 0:
        await asyncio.sleep(left_ns / 1e9)


def _made(libc: ctypes.CDLL) -> int:
    """Return a timer; below 0 where the kernel, or a sandbox, has none."""
    try:
        return int(libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    except AttributeError:
        return -1
