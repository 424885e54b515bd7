"""Read how long the kernel has halted this container's processes because their processor quota was used up.

With ``docker run --cpus 1.5`` a process that asks for more stands still for the rest of each 100 ms. Nobody
else is to be seen then, and the processor may even be idle.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench.machine.proc import text_of

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def throttled_ticks(root: Path = CGROUPS, own: Path = OWN) -> int:
    """Return the time halted so far, summed over the processors, in clock ticks as in ``/proc/stat``; 0 where
    there is no quota. A quota of an enclosing cgroup counts as well."""
    found = _version_2(root, own)
    seconds = _version_1(root) if found is None else found
    return round(seconds * os.sysconf("SC_CLK_TCK"))


def _version_2(root: Path, own: Path) -> float | None:
    """Return the longest halt of this process's cgroup and those around it; None without version 2."""
    inside = [line.removeprefix("0::/") for line in (text_of(own) or "").splitlines() if line[:4] == "0::/"]
    place = root / inside[0] if inside else root
    around = [place, *(one for one in place.parents if one.is_relative_to(root))]
    said = [text for one in dict.fromkeys((*around, root)) if (text := text_of(one / "cpu.stat"))]
    return max((_field(text, "throttled_usec") / 1e6 for text in said), default=None)


def _version_1(root: Path) -> float:
    """Return the halt that version 1 counts, in nanoseconds there."""
    return _field(text_of(root / "cpu" / "cpu.stat") or "", "throttled_time") / 1e9


def _field(text: str, name: str) -> int:
    """Return the number beside ``name``; 0 if it is not there, as in a cgroup without a quota."""
    words = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    return int(words[name]) if words.get(name, "").isdecimal() else 0
