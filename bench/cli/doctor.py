"""Find what makes measurements on this machine noisy or incomplete, and say what to do about it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.errors import UsageError
from bench.formatting import GIB
from bench.machine.devices import cpu_count, cuda_device_count
from bench.machine.proc import text_of
from bench.machine.system import memory_bytes
from bench.store.packages import installed

DISTRIBUTION = "inference-cost-bench"
LOOK_S = 1.0  # seconds for which the load is observed
BUSY_SHARE, STEAL_SHARE = 0.10, 0.01
LOW_MEMORY_BYTES = LOW_DISK_BYTES = 3_000_000_000
# Extras that only developers need. The extra `gpu` is also ignored on a machine without a GPU.
DEVELOPER_EXTRAS = ("test",)


def findings() -> list[str]:
    """Return what should be changed, the main sources of noise first, or one line if all is well."""
    problems = [*_load(), *_clocks(), *_quota(), *_energy(), *_cuda(), *_packages(), *_space()]
    return problems or ["nothing to change: quiet, complete and with room for the default model"]


def _load() -> Iterator[str]:
    """Observe /proc/stat for a second, and report busy processors and stolen time."""
    from bench.machine.noise import between, read_ticks
    from bench.measure.clock import pause

    try:
        before = read_ticks()
        pause(LOOK_S)
        seen = between("doctor", before, read_ticks())
    except OSError:
        yield "no /proc/stat to read: noise cannot be seen, so repeat runs and compare them"
        return
    busy, steal = (float(str(seen[key])) for key in ("busy_share", "steal_share"))
    if busy > BUSY_SHARE:
        yield f"{busy:.0%} of the processors' time is in use right now: end what is running, or wait"
    if steal > STEAL_SHARE:
        yield (
            f"the hypervisor takes {steal:.1%} of this machine's time: trust only ratios measured in turns, "
            "or take a dedicated host"
        )


def _clocks() -> Iterator[str]:
    governors = {
        text
        for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
        if (text := text_of(file))
    }
    if slow := sorted(governors - {"performance"}):
        yield (
            f"CPU governor {', '.join(slow)}: clocks follow the load; "
            "`sudo cpupower frequency-set -g performance` holds them"
        )


def _quota() -> Iterator[str]:
    """Report a CPU limit of the container that is below the number of visible processors."""
    share = cpu_quota()
    if share is not None and share < cpu_count():
        yield (
            f"the cgroup allows {share:g} of the {cpu_count()} processors shown and halts who asks for more: "
            f"set runtime.threads to {max(int(share), 1)} or less, or raise the limit (docker run --cpus)"
        )


def cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return how many processors the cgroup (version 2 or 1) allows at once, or None without a limit."""
    words = (text_of(root / "cpu.max") or "").split()
    if not words:
        files = (root / "cpu" / name for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        words = [text for file in files if (text := text_of(file))]
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit():
        return None
    return int(words[0]) / int(words[1])


def _energy() -> Iterator[str]:
    from bench.engine.energy_counters import NoCounter, find

    counter = find("cpu")
    if isinstance(counter, NoCounter):
        do = (
            "`sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` until the next start"
            if counter.code == "not_permitted"
            else "energy stays null; for joules take a bare-metal host"
        )
        yield f"no CPU energy: {counter.reason}; {do}"


def _cuda() -> Iterator[str]:
    """Report a CUDA device that the installed torch cannot use, judged by torch's version string.

    torch itself is not imported, because that takes seconds.
    """
    version = installed("torch")
    if cuda_device_count() and version is not None and "+cpu" in version:
        yield (
            f"{cuda_device_count()} CUDA device(s) here, and torch {version} is built without CUDA: "
            "`pip install --force-reinstall torch` fetches the build with CUDA"
        )
    yield from _gpus(cuda_device_count())


def _gpus(count: int) -> Iterator[str]:
    """Report for each GPU why it cannot be used, what cannot be measured on it, and who uses it now."""
    from bench.machine import gpus, nvml
    from bench.machine.gpu_watch import look

    for device in (f"cuda:{index}" for index in range(count)):
        if reason := gpus.why_not(device, count):
            yield reason
            continue
        yield from gpus.cautions([device])
        gpu, library = gpus.gpu_for(device), nvml.library()
        if not isinstance(gpu, nvml.Gpu):
            continue
        state = look(library, gpu)
        if state.held:
            yield (
                f"GPU {device}: {len(state.held)} process(es) are on it right now: end them, or pairs that "
                "run at the same time may be void"
            )
        cap, usual = state.power_cap_w, state.default_cap_w
        if cap is not None and usual is not None and cap < usual:
            yield (
                f"GPU {device}: its power cap is {cap:.0f} W, below the board's usual {usual:.0f}: figures "
                f"are of a capped card; `sudo nvidia-smi -pl {usual:.0f}` lifts it"
            )


def _packages() -> Iterator[str]:
    """Report requirements of the installed package that are missing or too old."""
    absent: dict[str, list[str]] = {}
    for name, minimum, extra in requirements():
        version = installed(name)
        if extra in DEVELOPER_EXTRAS or (extra == "gpu" and not cuda_device_count()):
            continue
        if version is None:
            absent.setdefault(extra, []).append(name)
        elif _number(version) < _number(minimum):
            yield f"{name} {version} is older than {minimum}: pip install '{name}>={minimum}'"
    for extra, names in absent.items():
        what = f"{DISTRIBUTION}[{extra}]" if extra else DISTRIBUTION
        yield f"not installed: {', '.join(names)}: pip install '{what}'"


def requirements() -> list[tuple[str, str, str]]:
    """Return (package, minimum version, extra) of each requirement; extra is '' for the core."""
    from importlib import metadata

    try:
        stated = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    matches = (re.match(r"([\w.-]+)>=([\w.]+)(?:.*extra == '([\w-]+)')?", line) for line in stated)
    return [(match[1], match[2], match[3] or "") for match in matches if match]


def _number(version: str) -> tuple[int, ...]:
    """Return the release part of a version as numbers, for comparison: 2.10.0+cpu becomes (2, 10, 0)."""
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def _space() -> Iterator[str]:
    from bench.models.disk_cache import cache_root

    free = available_bytes()
    if free is not None and free < LOW_MEMORY_BYTES:
        yield f"{free / GIB:.1f} GiB of memory are free, the default run needs 2.3: end other programs"
    try:
        place = cache_root()
    except UsageError as nowhere:
        yield str(nowhere)
        return
    there = next(path for path in (place, *place.parents) if path.exists())
    room = shutil.disk_usage(there).free
    if room < LOW_DISK_BYTES:
        yield f"{room / GIB:.1f} GiB are free at {place}: make room, or set BENCH_CACHE to another disk"
    elif not os.access(there, os.W_OK):
        yield f"{place} cannot be written: set BENCH_CACHE to a directory that can"


def available_bytes() -> int | None:
    """Return the bytes that a new process could use without swapping, or None if that is not known."""
    return memory_bytes("MemAvailable")
