"""Ask the driver about a GPU and about who uses it, through NVIDIA's library NVML (nvidia-ml-py).

The harness and the workers use this file, so it needs the standard library only; nvidia-ml-py is imported
when a GPU is asked about. A GPU is known by its UUID: torch, CUDA and NVML may number the GPUs differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

INSTALL = "install nvidia-ml-py: pip install 'inference-cost-bench[gpu]'"
SLICES = 7  # of processors, on every board that can be cut so far (A100, H100, H200, B200)
COMPUTE_MODES = {2: "prohibited", 3: "exclusive"}  # 0 is the default: any number of processes


@dataclass(frozen=True)
class NoNvml:
    """The reason why NVML cannot be asked: a reason code and a sentence."""

    code: str
    reason: str


@dataclass(frozen=True)
class Gpu:
    """A GPU that a worker can use: a whole board, or a slice of one (MIG).

    ``handle`` is what NVML calls it, ``board`` the board that it is on. ``profile`` is a slice's, such as
    ``1g.10gb``; a slice of unknown profile has ``?``, and a whole board ``""``. ``share`` is the part of the
    board that nobody else can use meanwhile, 1.0 for all of it.
    """

    uuid: str
    name: str
    memory_bytes: int
    profile: str = ""
    share: float = 1.0
    handle: Any = field(default=None, compare=False, repr=False)
    board: Any = field(default=None, compare=False, repr=False)

    @property
    def words(self) -> str:
        """Return the name with the slice, if it is one."""
        return f"{self.name} (MIG slice {self.profile})" if self.profile else self.name


def library() -> Any | NoNvml:
    """Return the module ``pynvml``, ready to be asked, or why there is none. Tests put a stand-in into
    ``sys.modules``; nothing else in the package imports it."""
    try:
        import pynvml
    except ImportError:
        return NoNvml("nvml_missing", INSTALL)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NoNvml("nvml_failed", f"NVML: {error}")
    return pynvml


def ask(nvml: Any, function: str, *arguments: Any) -> Any | None:
    """Return the answer of one function of NVML; None if the driver, the card or this version lacks it."""
    try:
        return getattr(nvml, function)(*arguments)
    except (nvml.NVMLError, AttributeError):
        return None


def text(value: Any) -> str:
    """Return a name as text: earlier versions of nvidia-ml-py give bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def boards(nvml: Any) -> list[Gpu]:
    """Return every board of this machine in the order of the PCI bus, which is NVML's own."""
    found = []
    for index in range(ask(nvml, "nvmlDeviceGetCount") or 0):
        handle = ask(nvml, "nvmlDeviceGetHandleByIndex", index)
        if handle is not None:
            found.append(_board(nvml, handle))
    return found


def _board(nvml: Any, handle: Any) -> Gpu:
    return Gpu(
        text(ask(nvml, "nvmlDeviceGetUUID", handle)),
        text(ask(nvml, "nvmlDeviceGetName", handle)),
        _memory(nvml, handle),
        handle=handle,
        board=handle,
    )


def _memory(nvml: Any, handle: Any) -> int:
    found = ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
    return 0 if found is None else int(found.total)


def is_sliced(nvml: Any, board: Gpu) -> bool:
    """Return whether a board is cut into slices (MIG), of which a process can use one and never the whole."""
    mode = ask(nvml, "nvmlDeviceGetMigMode", board.board)
    return bool(mode and mode[0])


def slices(nvml: Any, board: Gpu) -> Iterator[Gpu]:
    """Yield the slices of a board, in the driver's order."""
    for index in range(ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", board.board) or 0):
        handle = ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", board.board, index)
        if handle is not None:
            yield _slice(nvml, handle, board)


def _slice(nvml: Any, handle: Any, board: Gpu) -> Gpu:
    """Return a slice. Its share of the board is the larger of its shares of processors and of memory: what
    of the board nobody else can use."""
    memory = _memory(nvml, handle)
    named = re.search(
        r"MIG (?:[0-9]+c\.)?(([0-9]+)g\.[0-9]+gb\S*)", text(ask(nvml, "nvmlDeviceGetName", handle))
    )
    profile, processors = (named[1], int(named[2]) / SLICES) if named else ("?", 0.0)
    share = max(processors, memory / board.memory_bytes if board.memory_bytes else 1.0)
    uuid = text(ask(nvml, "nvmlDeviceGetUUID", handle))
    return Gpu(uuid, board.name, memory, profile, min(share, 1.0), handle, board.board)


def gpu_of(uuid: str) -> Gpu | NoNvml:
    """Return the GPU with a UUID as torch gives it, without ``GPU-`` before it."""
    nvml = library()
    if isinstance(nvml, NoNvml):
        return nvml
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except nvml.NVMLError as unknown:
        handle = ask(nvml, "nvmlDeviceGetHandleByUUID", f"MIG-{uuid}")
        if handle is None:
            return NoNvml("gpu_unknown", f"NVML does not know the GPU {uuid} ({unknown})")
        board = _board(nvml, ask(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle))
        return _slice(nvml, handle, board)
    found = _board(nvml, handle)
    if is_sliced(nvml, found):  # which of the slices is not known
        return Gpu(found.uuid, found.name, found.memory_bytes, "?", handle=handle, board=handle)
    return found


def compute_mode(nvml: Any, gpu: Gpu) -> str | None:
    """Return ``exclusive`` or ``prohibited`` if the board does not take several processes; else None."""
    return COMPUTE_MODES.get(ask(nvml, "nvmlDeviceGetComputeMode", gpu.board) or 0)


def cuda_of_driver(nvml: Any) -> tuple[int, int] | None:
    """Return the newest version of CUDA that the driver can run, such as (12, 4); None if it does not say."""
    found = ask(nvml, "nvmlSystemGetCudaDriverVersion_v2") or ask(nvml, "nvmlSystemGetCudaDriverVersion")
    return None if not found else (found // 1000, found % 1000 // 10)


def driver_version(nvml: Any) -> str:
    """Return the version of the driver, such as ``550.54.15``."""
    return text(ask(nvml, "nvmlSystemGetDriverVersion") or "of unknown version")


def processes(nvml: Any, gpu: Gpu) -> dict[int, int | None] | None:
    """Return the bytes that each process holds on the GPU (None where the driver does not say how many);
    None if the driver lists no processes at all."""
    found = ask(nvml, "nvmlDeviceGetComputeRunningProcesses", gpu.handle)
    return None if found is None else {one.pid: one.usedGpuMemory for one in found}
