"""Find the GPU that a worker will use before it starts, or say why it cannot use it. torch is not imported.

Workers get ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` unless the user has set it, so that ``cuda:1`` is the same card
to CUDA, to NVML and to ``nvidia-smi``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from bench.bounded import read_bounded
from bench.formatting import GIB
from bench.machine import nvml
from bench.machine.devices import cuda_device_count
from bench.machine.nvml import Gpu, NoNvml
from bench.store.packages import installed

ORDER = "CUDA_DEVICE_ORDER"
BY_BUS = "PCI_BUS_ID"
MOST_BYTES = 65_536


def visible() -> tuple[Gpu, ...] | NoNvml:
    """Return the GPUs in the order in which a worker numbers them, or why that is not known.

    ``CUDA_VISIBLE_DEVICES`` chooses among them, by number or by the beginning of a UUID. As for CUDA, the
    first entry that is no device ends the list. Of a board that is cut into slices (MIG), CUDA shows the
    first slice, unless another is named.
    """
    library = nvml.library()
    if isinstance(library, NoNvml):
        return library
    boards = nvml.boards(library)
    if os.environ.get(ORDER, BY_BUS) != BY_BUS and len({board.name for board in boards}) > 1:
        return NoNvml(
            "gpu_order",
            f"{ORDER}={os.environ[ORDER]} numbers these different GPUs in an order that only CUDA knows; set "
            f"{ORDER}={BY_BUS}",
        )
    usable = {number: _usable(library, board) for number, board in enumerate(boards)}
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return tuple(gpu for found in usable.values() for gpu in found[:1])
    every = {gpu.uuid: gpu for found in usable.values() for gpu in found}
    every |= {board.uuid: found[0] for board, found in zip(boards, usable.values(), strict=True) if found}
    taken: list[Gpu] = []
    for entry in chosen.split(","):
        gpu = _named(entry.strip(), usable, every)
        if gpu is None or gpu in taken:
            break
        taken.append(gpu)
    return tuple(taken)


def _usable(library: object, board: Gpu) -> list[Gpu]:
    """Return what CUDA can use of a board: itself, or its slices."""
    return list(nvml.slices(library, board)) if nvml.is_sliced(library, board) else [board]


def _named(entry: str, usable: dict[int, list[Gpu]], every: dict[str, Gpu]) -> Gpu | None:
    """Return the GPU of one entry of CUDA_VISIBLE_DEVICES; None if it is none, or not one alone."""
    if re.fullmatch("[0-9]{1,9}", entry):
        return next(iter(usable.get(int(entry), ())), None)
    found = [gpu for uuid, gpu in every.items() if entry and uuid.startswith(entry)]
    return found[0] if len(found) == 1 else None


def gpu_for(device: str) -> Gpu | NoNvml | None:
    """Return the GPU behind a config's ``device`` (``auto``, ``cuda``, ``cuda:N``); None where there is none.
    NoNvml says why it is not known which one it is."""
    if device == "cpu" or not cuda_device_count():
        return None
    found = visible()
    if isinstance(found, NoNvml):
        return found
    index = int(device.partition(":")[2] or 0)
    return found[index] if index < len(found) else None


def spread(device: str, count: int) -> tuple[str, ...]:
    """Return the devices of a model that is split over ``count`` of them: the first GPUs, or one CPU."""
    on_gpu = device.startswith("cuda") or (device == "auto" and cuda_device_count() > 0)
    return tuple(f"cuda:{index}" for index in range(count)) if on_gpu and count > 1 else (device,)


def lock_names(devices: Iterable[str]) -> list[str]:
    """Return a name for each GPU that these devices stand for, by which a lock knows it. If a GPU is not
    known, all GPUs of the machine are meant, by the name ``every-gpu``."""
    gpus = {device: gpu_for(device) for device in set(devices)}
    found = {"every-gpu" if isinstance(gpu, NoNvml) else gpu.uuid for gpu in gpus.values() if gpu is not None}
    return sorted(found)


def why_not(device: str, count: int) -> str | None:
    """Return why a worker could not use the GPU ``device`` on a machine that shows ``count`` of them, in a
    sentence; None if it can, or if nobody can say before it is tried."""
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        return f"{device}: this machine shows {_devices(count)}"
    if reason := _driver_too_old():
        return reason
    found = visible()
    if isinstance(found, NoNvml):
        return None
    if index >= len(found):
        return f"{device}: this machine shows {_devices(len(found))}{_named_by_user()}"
    library = nvml.library()
    mode = nvml.compute_mode(library, found[index])
    if mode is not None:
        return (
            f"{device}: the {found[index].words} is in {mode} mode and takes "
            f"{'no process' if mode == 'prohibited' else 'one process'}, and a pair is two: "
            "`sudo nvidia-smi -c DEFAULT` lets several in"
        )
    return None


def _devices(count: int) -> str:
    """Say how many devices there are, and their names if the driver tells."""
    found = visible() if count else ()
    names = (
        ""
        if isinstance(found, NoNvml) or not found
        else ": " + ", ".join(f"cuda:{number} {gpu.words}" for number, gpu in enumerate(found))
    )
    return f"{count} CUDA device(s){names}"


def _named_by_user() -> str:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if chosen is None else f" (CUDA_VISIBLE_DEVICES={chosen[:80]})"


def cuda_of_torch() -> tuple[int, int] | None:
    """Return the version of CUDA that the installed torch was built with; None without CUDA or torch. It is
    read from torch's own file, and nothing is imported."""
    spec = find_spec("torch")
    places = list(spec.submodule_search_locations or ()) if spec else []
    try:
        written = read_bounded(Path(places[0]) / "version.py", MOST_BYTES).decode(errors="replace")
    except (OSError, IndexError):
        return None
    found = re.search(r"^cuda\b[^=\n]*=\s*'([0-9]+)\.([0-9]+)", written, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def _driver_too_old() -> str | None:
    """Return a sentence if torch was built for a later major version of CUDA than the driver can run.

    Within a major version a driver runs what was built for a later minor one (NVIDIA's "CUDA compatibility").
    """
    library, wanted = nvml.library(), cuda_of_torch()
    has = None if isinstance(library, NoNvml) else nvml.cuda_of_driver(library)
    if wanted is None or has is None or has[0] >= wanted[0]:
        return None
    return (
        f"driver {nvml.driver_version(library)} runs CUDA {has[0]}.{has[1]} at most, and torch "
        f"{installed('torch')} is built for CUDA {wanted[0]}.{wanted[1]}: update the driver, or install a "
        f"torch that is built for CUDA {has[0]}"
    )


def cautions(devices: Iterable[str]) -> Iterator[str]:
    """Yield what a plan should say about the GPUs that it would use."""
    for device in sorted(set(devices)):
        gpu = gpu_for(device)
        if isinstance(gpu, NoNvml):
            yield (
                f"GPU {device}: its neighbours, throttling, energy and memory by process will not be known "
                f"({gpu.reason})"
            )
        elif gpu is not None and gpu.profile:
            yield (
                f"GPU {device} is a slice, {gpu.words}, {gpu.memory_bytes / GIB:.1f} GiB: it is priced as "
                f"{gpu.share:.0%} of the card; the other slices share its power and clocks, and the energy "
                "of a slice cannot be measured"
            )
