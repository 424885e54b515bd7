"""Measure what the client itself cost: was the load as planned, and are the times the server's alone?

A client that is late, or that has no processor left, measures itself. Such a run is invalid, with the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from bench.records.loads import ClientOverhead
from bench.records.samples import Sample
from bench.stats.intervals import quantile

TICK_S = 0.01


def tail(ordered: Sequence[float]) -> float:
    """Return the value that 1 % exceed, but at least one: a single late request of a few says nothing."""
    return ordered[max(len(ordered) - 1 - max(len(ordered) // 100, 1), 0)]


class Watch:
    """Look at the client while it runs: ``start`` and ``stop`` within its event loop."""

    def __init__(self) -> None:
        self._lags_ms: list[float] = []
        self._task: asyncio.Task[None] | None = None
        self._cpu_s = self._wall_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()
        self._task = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self._lags_ms.append(max(time.monotonic() - due, 0.0) * 1e3)

    def stop(self, samples: Sequence[Sample]) -> ClientOverhead:
        """End, and sum up what was seen."""
        cpu_s, wall_s = time.process_time() - self._cpu_s, time.monotonic() - self._wall_s
        if self._task is not None:
            self._task.cancel()
        late = sorted((one.sent_ns - one.scheduled_ns) / 1e6 for one in samples) or [0.0]
        lags = sorted(self._lags_ms)
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        return ClientOverhead(
            quantile(late, 0.5), tail(late), late[-1],
            quantile(lags, 0.5) if lags else None, tail(lags) if lags else None,
            cpu_s / wall_s if wall_s > 0 else 0.0, loop,
        )  # fmt: skip
