"""The totals of a device while something runs, as ``nvidia-smi`` shows them, sampled by the side."""

from __future__ import annotations

import os
import threading
from types import TracebackType

import psutil

from bench.machine import nvml
from bench.machine.gpus import gpu_for
from bench.machine.nvml import Gpu

SAMPLE_S = 0.1


class Totals:
    """Samples the memory in use, ten times a second: on a GPU that of all processes less what was in use
    before; on a CPU the largest resident set of any process that this one has started."""

    def __init__(self, device: str) -> None:
        gpu = gpu_for(device)
        self._gpu = gpu if isinstance(gpu, Gpu) else None
        self._cpu = device == "cpu"
        self._before = self._used() if not self._cpu else 0
        self.most_bytes: int | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Totals:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_S):
            used = self._largest_child() if self._cpu else self._used()
            if used is not None:
                self.most_bytes = max(self.most_bytes or 0, used - (self._before or 0))

    def _used(self) -> int | None:
        library = nvml.library()
        if self._gpu is None or isinstance(library, nvml.NoNvml):
            return None
        found = nvml.ask(library, "nvmlDeviceGetMemoryInfo", self._gpu.handle)
        return None if found is None else int(found.used)

    @staticmethod
    def _largest_child() -> int | None:
        sizes = []
        for child in psutil.Process(os.getpid()).children(recursive=True):
            try:
                sizes.append(child.memory_info().rss)
            except psutil.Error:  # it has ended
                continue
        return max(sizes, default=None)
