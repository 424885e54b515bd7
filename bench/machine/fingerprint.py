"""Identify this machine by everything that changes measured figures."""

from __future__ import annotations

import hashlib
import platform
import sys
from functools import cache
from pathlib import Path

from bench import plugins
from bench.machine.devices import cpu_count, cuda_device_count
from bench.machine.proc import cpu_fields, text_of
from bench.machine.system import memory_bytes
from bench.store.packages import PACKAGES, installed


def fingerprint() -> dict[str, object]:
    """Return processor, memory, kernel, limits and versions; no host name, user name or path."""
    cpu = cpu_fields()
    return {
        "cpu_model": cpu.get("model name", platform.machine() or "unknown"),  # processor() starts `uname`
        "cpu_flags_sha256": hashlib.sha256(cpu.get("flags", "").encode()).hexdigest()[:16],
        "microcode": cpu.get("microcode"),
        "cpus": cpu_count(),
        "memory_bytes": memory_bytes("MemTotal"),
        "hypervisor": "hypervisor" in cpu.get("flags", "").split(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "governor": text_of(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "cgroup_cpu_max": text_of(Path("/sys/fs/cgroup/cpu.max")),
        "gpus": list(_gpus()),
        "python": sys.version.split()[0],
        "packages": dict(_versions()),
    }


@cache  # a gate asks three times, and the metadata of every package is parsed
def _versions() -> tuple[tuple[str, str], ...]:
    """Return (package, version) of what is installed of ``PACKAGES``, and of packages that add plug-ins."""
    ours = tuple((name, version) for name in PACKAGES if (version := installed(name)))
    return ours + tuple(sorted(plugins.versions_of_others().items()))


def _gpus() -> tuple[str, ...]:
    """Return GPU model names from the driver's own files; the worker reports what torch sees."""
    found = [text_of(path) or "" for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))]
    names = [
        line.partition(":")[2].strip() for text in found for line in text.splitlines() if "Model" in line
    ]
    return tuple(names) or ("unnamed",) * cuda_device_count()
