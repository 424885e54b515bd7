"""Choose the environment variables of a worker: few of the harness's own, and some that steady its times."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bench.machine.children import SAFE, from_whole_paths
from bench.machine.package_places import package_places
from bench.models.disk_cache import cache_root

# The variables that a worker inherits: enough to find libraries, caches and devices, but no secrets.
ALLOWED_ENVIRONMENT = (
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "TZ",
    "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "XDG_CACHE_HOME",
    "HF_HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "BENCH_CACHE",
)  # fmt: skip

# Each OpenMP thread stays on one processor. An idle thread spins only briefly: long enough to be awake for
# the next operator, but too short to disturb the partner's turn (docs/decisions/0002 and 0004).
BOUND = {"OMP_PROC_BIND": "close", "OMP_PLACES": "threads"}
SPINS_BRIEFLY = {"GOMP_SPINCOUNT": "200000"}
# Freed memory stays with the process, so that a step that unpacks its weights causes no page faults.
# Otherwise bnb-nf4 has 100 to 700 of them, a different number each time (docs/decisions/0004).
KEEPS_ITS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


def worker_environment(
    threads: int | None, on_cpu: bool = True, *, python: Path | None = None
) -> dict[str, str]:
    """Return the environment of a worker with ``threads`` threads (None: the engine's default).

    A worker with the harness's own interpreter also finds packages where the harness finds them: on
    ``PYTHONPATH``. Another interpreter (``python``) has packages of its own. What its worker starts by name
    is of its environment, too: else code that calls ``python`` would run with what the job has.
    """
    inherited = {name: os.environ[name] for name in ALLOWED_ENVIRONMENT if name in os.environ}
    kept = from_whole_paths(inherited)
    if python is None and (places := package_places()):
        kept["PYTHONPATH"] = os.pathsep.join(places)
    # A single thread has no other threads to stay close to. If it were bound, it would sit on the first
    # processor as soon as OpenMP is loaded, and two workers would load on one processor while the other is
    # idle.
    bound = BOUND if threads != 1 else {}
    added = {
        **SAFE,  # for what a library starts: it stands where the user stands, too
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as NVML and nvidia-smi number them; the user's own order stays
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        # The profiler's hooks (CUPTI) are taken out of the process again. Torch reads this when it is loaded.
        "TEARDOWN_CUPTI": "1",
        **compiled_here(kept),
        **(bound | SPINS_BRIEFLY | KEEPS_ITS_MEMORY if on_cpu else {}),
    }
    if threads is not None:
        added |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return {**added, **(kept if python is None else _in_its_environment(python, kept))}


def _in_its_environment(python: Path, kept: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with the programs beside an interpreter first on the path."""
    programs = python.absolute().parent
    found = {name: value for name, value in kept.items() if name != "VIRTUAL_ENV"}
    if (programs.parent / "pyvenv.cfg").is_file():
        found["VIRTUAL_ENV"] = str(programs.parent)
    return {**found, "PATH": f"{programs}{os.pathsep}{kept.get('PATH', os.defpath)}"}


def compiled_here(kept: Mapping[str, str]) -> dict[str, str]:
    """Return where workers keep compiled code, unless the user has chosen a place: in the cache of this
    package.

    Compiling an 8B model takes minutes. Compiled code is found by the digest of its source, so both sides of
    a pair find the same kernels, and a changed graph finds none.
    """
    place = cache_root() / "compiled"
    wanted = {"TORCHINDUCTOR_CACHE_DIR": place / "inductor", "TRITON_CACHE_DIR": place / "triton"}
    return {name: str(path) for name, path in wanted.items() if name not in kept}
