"""Read the time that a thread takes for itself, so that two workers on one processor can both be timed.

The time is the wall time without the time in which the thread was ready and waited for the processor, which
the kernel counts as ``run_delay`` (Linux, Documentation/scheduler/sched-stats.rst). What the thread sleeps or
waits for a reply is part of its own time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import clock_gettime_ns, perf_counter_ns, process_time_ns, thread_time_ns

from bench.machine.proc import descendants, numbers_in, stat_of

THIS_THREAD = Path("/proc/thread-self/schedstat")
SHORTEST_NS = 20_000_000  # a shorter time counts as long as this: reading the clocks takes microseconds
MOST_ASLEEP = 0.2  # a host takes some milliseconds, which look like sleep where the guest sees them
LONGEST_LINE = 128  # bytes: three numbers
CHILDREN_TICKS = slice(13, 15)  # of ``stat``, from its state on: user and system time of ended children
TIMES_TICKS = slice(11, 15)  # the same, after those of the process itself
LEAST_LOST_NS = 30_000_000  # processor time, in which what has ended is known to some hundredths of a second
SAME_NS = 50_000  # readings that are closer than this are of one moment
MOST_READINGS = 20  # on a machine whose clocks take long, the last one has to do
CPUCLOCK_SCHED = 2  # the processor time of a process (Linux, include/linux/posix-timers_types.h)


class OwnTime:
    """A context manager around the clock of this thread and of ``programs``: processes of one thread each
    that compute for it while it waits for them. Raises OSError if the kernel does not count what they wait.
    """

    def __init__(self, programs: Sequence[int] = ()) -> None:
        self._paths = [THIS_THREAD, *(Path(f"/proc/{pid}/schedstat") for pid in programs)]
        self._counted = max(1, len(programs))  # so many of them, from the last one on

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
        waits = self._waits_ns()
        while True:
            now, again = perf_counter_ns(), self._waits_ns()
            if again == waits:  # otherwise the thread lost the processor between the two readings
                return now - sum(waits[-self._counted :])
            waits = again

    def waited_ns(self) -> int:
        """Return how long the programs have waited for a processor so far; without programs, the thread.

        The thread may wait for the processor while a program computes on it. Subtracting both would take away
        more than there was.
        """
        return sum(self._waits_ns()[-self._counted :])

    def _waits_ns(self) -> list[int]:
        return [self._numbers(index)[1] for index in range(len(self._files))]

    def _numbers(self, index: int) -> list[int]:
        return [int(number) for number in os.pread(self._files[index], LONGEST_LINE, 0).split()]


class Elsewhere:
    """A context manager that finds how much of a request is done by others than this thread, as a share of
    the thread's own time: by other threads of this process, the processes below it, and what has ended there.
    The first threads of ``programs`` are no others, since the own time is theirs too.

    Such work is why two workers may not share a processor: it is slowed down by the partner unseen. So is
    what a thread waits for that sleeps for more than ``MOST_ASLEEP`` of its time: a server that answers one
    after the other, a disk, a lock. If the partner is served first, its work is in the time of both.
    """

    def __init__(self, programs: Sequence[int]) -> None:
        self._own, self._programs = OwnTime(programs), programs
        self._own_ns = self._others_ns = self._computed_ns = 0
        self._unknown = (
            False  # whether a process has ended with what it computed, or nobody says what that is
        )

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

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what happens in the block; there may be several."""
        own, others, computed = self._now()
        yield
        now, others_now, computed_now = self._now()
        self._own_ns += now - own
        self._others_ns += others_now - others
        self._unknown |= others_now - others < -LEAST_LOST_NS or _forgets_children()
        self._computed_ns += computed_now - computed

    def share(self) -> float | None:
        """Return the share in all blocks; None if the kernel does not count all of it."""
        if self._clock is None or self._unknown:
            return None
        own = max(self._own_ns, SHORTEST_NS)
        asleep = (self._own_ns - self._computed_ns) / own
        return max(0.0, self._others_ns / own, asleep if asleep > MOST_ASLEEP else 0.0)

    def _now(self) -> tuple[int, int, int]:
        if self._clock is None:
            return 0, 0, 0
        return self._clock.now_ns(), *self._computed()

    def _computed(self) -> tuple[int, int]:
        """Return how long others have computed, and how long this thread and the first threads of the
        programs: the others are all other threads of this process, and of those below it. What has ended is
        known in hundredths of a second."""
        times = [_computed_ns(pid) for pid in descendants(os.getpid())]
        self._unknown |= None in times
        below = sum(time or 0 for time in times) + _ended_ns(os.getpid())
        process, thread = _both_ns()
        here = thread + sum(map(_first_thread_ns, self._programs))
        return process + below - here, here


def _both_ns() -> tuple[int, int]:
    """Return the processor time of this process and of this thread, read at nearly the same moment.

    A host that stops the machine between the two readings may count that time to the thread. The process
    would then have computed for milliseconds elsewhere.
    """
    for _ in range(MOST_READINGS):
        before, process, after = thread_time_ns(), process_time_ns(), thread_time_ns()
        if after - before < SAME_NS:
            break
    return process, before


def _computed_ns(pid: int) -> int | None:
    """Return the processor time of a process and of its children that have ended; 0 if it has gone, and None
    if it is there and the kernel does not say."""
    try:
        return clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED) + _ended_ns(pid)
    except OSError:
        times = stat_of(pid)[TIMES_TICKS]
        return _nanoseconds(times) if times else None if Path(f"/proc/{pid}").exists() else 0


def _forgets_children() -> bool:
    """Return whether children of this process leave nothing when they end, not even their times."""
    return signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN


def _ended_ns(pid: int) -> int:
    return _nanoseconds(stat_of(pid)[CHILDREN_TICKS])


def _nanoseconds(ticks: Sequence[str]) -> int:
    return sum(map(int, ticks)) * 10**9 // os.sysconf("SC_CLK_TCK")


def _first_thread_ns(pid: int) -> int:
    return next(iter(numbers_in(Path(f"/proc/{pid}/schedstat"))), 0)
