"""Read the peak memory of this worker in each phase from the kernel's high-water mark, without sampling.

Writing ``5`` to ``/proc/self/clear_refs`` resets ``VmHWM`` (proc(5)), so each phase has its own exact peak.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import Any

from bench.engine.energy_counters import gpu_of_torch
from bench.machine import nvml
from bench.machine.nvml import NoNvml
from bench.machine.proc import descendants, numbers_in, text_of

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak(engine: Any | None = None) -> None:
    """Return freed memory to the system and reset the peaks.

    If the kernel does not allow the reset, the peak stays that of the whole process.
    """
    give_back()
    cuda = _cuda(engine)
    if cuda is not None:
        cuda.reset_peak_memory_stats()
        if engine is not None and engine.ranks is not None:
            engine.ranks.reset_peaks()
    try:
        _CLEAR.write_text("5")
    except OSError as refused:
        print(f"memory: peaks are since the start of the process ({refused})")


def give_back() -> None:
    """Return freed memory to the system and to the GPU, because glibc and torch keep it for reuse.

    Otherwise the peak of serving would include the weights that a scheme replaced (see ``KEEPS_ITS_MEMORY``).
    C libraries without ``malloc_trim`` do not need it.
    """
    cuda = _cuda(None)
    if cuda is not None:
        cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def read_peak(engine: Any | None = None) -> dict[str, int | None]:
    """Return the peak bytes since the last reset, by kind.

    ``peak_rss_bytes`` is the peak resident set, plus what the live processes below this one hold now.
    ``peak_allocated_bytes`` is the peak of the tensors in torch's CUDA allocator, and ``peak_reserved_bytes``
    of the GPU memory that the allocator has reserved. ``peak_device_bytes`` is what this process holds now by
    the driver: context, kernels and reserved memory, which stays reserved until the next reset. It never
    includes other processes, and it is None if the driver does not know this process, as in most containers.
    What the other processes of a model hold that is split over several GPUs is added.
    """
    peaks: dict[str, int | None] = {
        "peak_rss_bytes": _high_water() + _programs(),
        "peak_allocated_bytes": None,
        "peak_reserved_bytes": None,
        "peak_device_bytes": None,
    }
    cuda = _cuda(engine)
    if cuda is not None:
        peaks["peak_allocated_bytes"] = cuda.max_memory_allocated()
        peaks["peak_reserved_bytes"] = cuda.max_memory_reserved()
        peaks["peak_device_bytes"] = held_on_gpu(cuda.current_device())
        for others in engine.ranks.peaks() if engine is not None and engine.ranks is not None else ():
            for kind in ("peak_allocated_bytes", "peak_reserved_bytes", "peak_device_bytes"):
                peaks[kind] = _sum(peaks[kind], others.get(kind))
    return peaks


def _sum(ours: int | None, theirs: int | None) -> int | None:
    """Return the sum of two peaks; None if one of them is not known."""
    return None if ours is None or theirs is None else ours + theirs


def held_on_gpu(index: int) -> int | None:
    """Return the bytes that this process holds on torch's GPU ``index``; None if the driver does not say."""
    gpu, library = gpu_of_torch(index), nvml.library()
    if isinstance(gpu, NoNvml) or isinstance(library, NoNvml):
        return None
    return (nvml.processes(library, gpu) or {}).get(os.getpid())


def _cuda(engine: Any | None) -> Any | None:
    """Return ``torch.cuda`` if this process uses a GPU and ``engine``, if given, runs on it; else None."""
    torch: Any = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    on_it = engine is None or engine.facts().on_gpu
    return torch.cuda if used and on_it else None


def _high_water() -> int:
    for line in (text_of(_STATUS) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _programs() -> int:
    """Return the resident bytes of the live processes below this one; 0 if the engine starts none.

    A program that ends meanwhile is not counted.
    """
    held = (numbers_in(Path(f"/proc/{pid}/statm")) for pid in descendants(os.getpid()))
    return sum(pages[1] for pages in held if len(pages) > 1) * resource.getpagesize()
