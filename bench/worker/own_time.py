"""Read the time that a thread takes for itself, so that two workers on one processor can both be timed.

The time is the wall time without the time in which the thread was ready and waited for the processor, which
the kernel counts as ``run_delay`` (Linux, Documentation/scheduler/sched-stats.rst). What the thread sleeps or
waits for a reply is part of its own time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_THREAD, getrusage
from time import clock_gettime_ns, perf_counter_ns, process_time_ns, thread_time_ns

THIS_THREAD = Path("/proc/thread-self/schedstat")
LONGEST_LINE = 128  # bytes: three numbers
CPUCLOCK_SCHED = 2  # the processor time of a process (Linux, include/linux/posix-timers_types.h)


class OwnTime:
    """A context manager around the clock of this thread and of ``programs``: processes of one thread each
    that compute for it while it waits for them. Raises OSError if the kernel does not count what they wait.
    """

    def __init__(self, programs: Sequence[int] = ()) -> None:
        self._programs = tuple(programs)
        self._paths = [THIS_THREAD, *(Path(f"/proc/{pid}/schedstat") for pid in programs)]

    def __enter__(self) -> OwnTime:
        with ExitStack() as opened:
            self._files: list[int] = []
            for path in self._paths:
                self._files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                opened.callback(os.close, self._files[-1])
            if self._numbers(0)[:1] <= [0]:  # this thread has computed, so the kernel does not count
                raise OSError(f"{THIS_THREAD} counts nothing")
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._opened.close()

    def now_ns(self) -> int:
        """Return the own time since some moment."""
        waited = self.waited_ns()
        while True:
            now, again = perf_counter_ns(), self.waited_ns()
            if again == waited:  # otherwise the thread lost the processor between the two readings
                return now - waited
            waited = again

    def waited_ns(self) -> int:
        """Return how long the thread and its programs have waited for a processor so far."""
        return sum(self._numbers(index)[1] for index in range(len(self._files)))

    def computed_ns(self) -> int:
        """Return how long the thread and its programs have computed so far."""
        return thread_time_ns() + self._computed_by_programs_ns()

    def others_ns(self) -> int:
        """Return how long the other threads of this process and of its programs have computed so far, and
        the children of this process that have ended."""
        all_threads = sum(clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED) for pid in self._programs)
        ended = getrusage(RUSAGE_CHILDREN)
        ended_ns = round((ended.ru_utime + ended.ru_stime) * 1e9)
        in_programs = all_threads - self._computed_by_programs_ns()
        return process_time_ns() - thread_time_ns() + in_programs + ended_ns

    def _computed_by_programs_ns(self) -> int:
        """Return how long the first threads of the programs have computed so far."""
        return sum(self._numbers(index)[0] for index in range(1, len(self._files)))

    def _numbers(self, index: int) -> list[int]:
        return [int(number) for number in os.pread(self._files[index], LONGEST_LINE, 0).split()]


class Elsewhere:
    """A context manager that finds which share of a time was spent by others than this thread and the first
    threads of its ``programs``: by other threads of these processes, by children that have ended, or by
    something that the thread waited for."""

    def __init__(self, programs: Sequence[int]) -> None:
        self._own = OwnTime(programs)

    def __enter__(self) -> Elsewhere:
        with ExitStack() as opened:
            try:
                self._clock: OwnTime | None = opened.enter_context(self._own)
            except (OSError, ValueError):
                self._clock = None
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._opened.close()

    def begin(self) -> None:
        """Begin the time that is looked at."""
        if self._clock is not None:
            self._before = self._now(self._clock)

    def share(self) -> float | None:
        """Return that share of the own time since ``begin``; None if the kernel does not count. What the
        thread waited for a processor is no part of it, so that a busy machine does not make the share small.

        A thread that has not given its processor away once has not waited for anything; what is missing from
        its time then was taken by the hypervisor.
        """
        if self._clock is None:
            return None
        both = zip(self._now(self._clock), self._before, strict=True)
        own, computed, others, slept = (now - before for now, before in both)
        return max(0.0, others / own, 1 - computed / own if slept else 0.0)

    def _now(self, clock: OwnTime) -> tuple[int, int, int, int]:
        """Return the own time, what of it was computed, that of other threads, and how often this thread
        slept."""
        return clock.now_ns(), clock.computed_ns(), clock.others_ns(), getrusage(RUSAGE_THREAD).ru_nvcsw
