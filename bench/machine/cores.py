"""List this machine's processors by physical core, so that two workers need not share a core."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from bench.machine.proc import text_of

_CPUS = Path("/sys/devices/system/cpu")


def halves(cpus: Iterable[int]) -> tuple[list[int], list[int]]:
    """Part processors into two sets that share no physical core.

    Cores go to one set and the other by turns, so both have cores of every socket. The second is empty on a
    machine with one core.
    """
    cores: dict[int, list[int]] = {}
    for cpu in sorted(cpus):
        cores.setdefault(_first_sibling(cpu), []).append(cpu)
    parted = [cores[first] for first in sorted(cores)]
    return sorted(chain.from_iterable(parted[::2])), sorted(chain.from_iterable(parted[1::2]))


def _first_sibling(cpu: int) -> int:
    """Return the lowest processor of the same core; the processor itself if the kernel does not say."""
    listed = text_of(_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list") or ""
    first = listed.replace("-", ",").partition(",")[0]
    return int(first) if first.isdecimal() else cpu
