"""Memory of this worker, phase by phase, from the kernel's own high-water mark: no sampling.

Writing ``5`` to ``/proc/self/clear_refs`` resets ``VmHWM``, so each phase has an exact peak of its own.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path
from typing import Any

from bench.machine.proc import entries, numbers_in, text_of

_PROC = Path("/proc")
_TASKS = Path("/proc/self/task")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def reset_peak(engine: Any | None = None) -> None:
    """Forget the peaks so far, and what is freed but kept; where the kernel does not allow it the peak stays
    the process's."""
    give_back()
    cuda = _cuda(engine)
    if cuda is not None:
        cuda.reset_peak_memory_stats()
    try:
        _CLEAR.write_text("5")
    except OSError as refused:
        print(f"memory: peaks are since the start of the process ({refused})")


def give_back() -> None:
    """Return what has been freed to the system (glibc keeps it, see ``KEEPS_ITS_MEMORY``) and to the GPU
    (torch keeps it), so that a serving peak does not hold the weights that were replaced. Another C library
    has no such call and no need."""
    cuda = _cuda(None)
    if cuda is not None:
        cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def read_peak(engine: Any | None = None) -> dict[str, int | None]:
    """Peak bytes since the last reset: resident set (children included), and CUDA's allocator; what the
    driver counts is of every process on the GPU, the other worker too."""
    peaks: dict[str, int | None] = {
        "peak_rss_bytes": _high_water() + _children(),
        "peak_allocated_bytes": None,
        "peak_device_bytes": None,
    }
    cuda = _cuda(engine)
    if cuda is not None:
        free, total = cuda.mem_get_info()
        peaks["peak_allocated_bytes"] = cuda.max_memory_allocated()
        peaks["peak_device_bytes"] = total - free
    return peaks


def _cuda(engine: Any | None) -> Any | None:
    """``torch.cuda`` where this process has a GPU in use and ``engine``, if one is given, runs on it."""
    torch: Any = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_initialized()
    on_it = engine is None or engine.facts().on_gpu
    return torch.cuda if used and on_it else None


def _high_water() -> int:
    for line in (text_of(_STATUS) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _children() -> int:
    """Resident bytes of this process's live children (0 for an engine that starts none). A thread or a child
    that ends meanwhile counts as gone."""
    total = 0
    for task in entries(_TASKS):
        for pid in numbers_in(task / "children"):
            pages = numbers_in(_PROC / str(pid) / "statm")
            total += pages[1] * resource.getpagesize() if len(pages) > 1 else 0
    return total
