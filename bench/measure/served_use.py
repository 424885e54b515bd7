"""Measure the memory and the energy of a server that was started here, while it is under load.

Both are read before and after a block, never during it. On a GPU, every board counts on which a process of
the server holds memory. If the driver names none of its processes (a container hides their numbers), the
machine's only board counts, if it has no more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import sleep
from typing import TypeVar

from bench.engine import energy_counters
from bench.engine.energy_counters import Counter, CounterReset, NoCounter
from bench.machine import nvml
from bench.machine.nvml import Gpu, NoNvml
from bench.records import EnergyReading, MemoryPeaks
from bench.records.samples import Sample
from bench.serving.server import Server
from bench.worker.counter_windows import Begun, Read, begun, joules_until, now

Found = TypeVar("Found")
LEAST_WINDOW_S = 2.0  # METRICS 4.5
RESET = NoCounter("counter_reset", "the counter was set back during a block")
SHORT = NoCounter("window_too_short", f"the blocks took less than {LEAST_WINDOW_S:g} s together")
STUCK = NoCounter("counter_stuck", "the counter did not move")
NEIGHBOURS = NoCounter("neighbours", "others used the machine during a block, and a counter counts that too")
NO_BOARD = NoCounter("gpu_unknown", "the driver does not say on which of the GPUs the server runs")
ELSEWHERE = EnergyReading(
    None,
    energy_valid=False,
    code="elsewhere",
    reason="the server was not started here, so no counter of its machine is read",
)


class Meter:
    """Watches a server over some blocks. ``on_gpu`` says where it runs."""

    def __init__(self, server: Server, *, on_gpu: bool) -> None:
        self._server, self._on_gpu = server, on_gpu
        self._boards = _boards_of(server.pids()) if on_gpu else []
        self._counters, self._missing = _counters(self._boards, on_gpu=on_gpu)
        self._joules = self._seconds = 0.0
        self._requests = self._tokens = 0
        self._resident = self._held = 0
        self._idle_w: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the energy of the block that runs inside this context, from an update of the counters on."""
        window = self._look(begun)
        yield
        end = now()
        if window is not None:
            self._count(window, end)
        self._resident = max(self._resident, self._server.memory_bytes())
        self._held = max(self._held, _held(self._boards, self._server.pids()))

    def _count(self, window: Begun, end: float) -> None:
        """Add what was used from the beginning of a window until ``end``."""
        joules = self._look(lambda reads: joules_until(reads, window, end))
        if joules is not None:
            self._joules += joules
            self._seconds += end - window.start

    def served(self, samples: Sequence[Sample], *, disturbed: bool) -> None:
        """Count what the block inside ``watching`` has served; ``disturbed`` says that others worked too."""
        self._requests += sum(sample.ok for sample in samples)
        self._tokens += sum(sample.n_out for sample in samples if sample.ok)
        if disturbed and self._missing is None:
            self._missing = NEIGHBOURS

    def idle(self, seconds: float) -> None:
        """Measure the power of the device while the server has nothing to do, for so many seconds."""
        window = self._look(begun)
        if window is None:
            return
        sleep(seconds)
        end = now()
        joules = self._look(lambda reads: joules_until(reads, window, end))
        if joules is not None:
            self._idle_w = joules / (end - window.start)

    def memory(self) -> MemoryPeaks:
        """Return the most that its processes held after a block, in bytes."""
        held = {"peak_device_bytes": self._held or None} if self._on_gpu else {}
        return MemoryPeaks({}, {}, served={"peak_rss_bytes": self._resident or None, **held})

    def energy(self) -> EnergyReading:
        """Return the energy of all blocks together, or why there is no figure."""
        missing = self._missing or (SHORT if self._seconds < LEAST_WINDOW_S else None)
        if missing is not None:
            return EnergyReading(None, energy_valid=False, code=missing.code, reason=missing.reason)
        return EnergyReading(
            self._joules, energy_valid=True, code="ok", reason="", boundary=self._boundary(),
            window_s=self._seconds, requests=self._requests, output_tokens=self._tokens, idle_w=self._idle_w,
        )  # fmt: skip

    def _boundary(self) -> str:
        named = dict.fromkeys(counter.boundary for counter in self._counters)
        many = f" × {len(self._counters)}" if len(self._counters) > 1 else ""
        return " and ".join(named) + many + ("" if self._on_gpu else ", with the client")

    def _look(self, look: Callable[[Sequence[Read]], Found | None]) -> Found | None:
        """Look at all counters together. None where there are none, one was set back, or one stands still."""
        if self._missing is not None:
            return None
        try:
            found = look([counter.read for counter in self._counters if counter.read is not None])
        except CounterReset:
            self._missing = RESET
            return None
        if found is None:
            self._missing = STUCK
        return found


def _counters(boards: Sequence[Gpu], *, on_gpu: bool) -> tuple[list[Counter], NoCounter | None]:
    """Return the counters, or none and the reason why there is none to use."""
    if on_gpu and not boards:
        library = nvml.library()
        return [], NoCounter(library.code, library.reason) if isinstance(library, NoNvml) else NO_BOARD
    counters = (
        [energy_counters.find("cuda", board) for board in boards] if on_gpu else [energy_counters.find("cpu")]
    )
    for counter in counters:
        if isinstance(counter, NoCounter):
            return [], counter
        if counter.read is None:
            return [], NoCounter("no_energy_counter", f"{counter.boundary}: only power is known, not energy")
    return [counter for counter in counters if isinstance(counter, Counter)], None


def _boards_of(pids: Sequence[int]) -> list[Gpu]:
    """Return the boards on which these processes hold memory, or the machine's only one."""
    library = nvml.library()
    if isinstance(library, NoNvml):
        return []
    boards = nvml.boards(library)
    used = [board for board in boards if set(nvml.processes(library, board) or ()) & set(pids)]
    return used or (boards if len(boards) == 1 else [])


def _held(boards: Sequence[Gpu], pids: Sequence[int]) -> int:
    """Return the bytes that these processes hold on the boards."""
    library = nvml.library()
    if isinstance(library, NoNvml):
        return 0
    each = [nvml.processes(library, board) or {} for board in boards]
    return sum(held or 0 for by_pid in each for pid, held in by_pid.items() if pid in pids)
