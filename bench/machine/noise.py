"""What else the machine was doing during a pass: recorded beside the figures, never corrected for.

A pass in which others took more than ``DISTURBED_SHARE`` of the machine is measured again. That looks at
processor time alone, never at the figures, so it cannot favour either side.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine.proc import text_of

STOLEN_SHARE = 0.10
DISTURBED_SHARE = 0.05
# Processor time is counted in hundredths of a second: shorter passes than this say nothing.
ENOUGH_TICKS = 100


@dataclass(frozen=True)
class Ticks:
    """Processor time so far in clock ticks: of the whole machine, stolen from it, idle, and of our own
    processes; and the load average of the last minute."""

    total: int
    steal: int
    idle: int
    own: int
    load1: float


def read_ticks(pids: Sequence[int] = ()) -> Ticks:
    """From /proc/stat (user nice system idle iowait irq softirq steal). Ours: ``pids`` and this process."""
    fields = [int(x) for x in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    own = sum(_ticks_of(pid) for pid in {os.getpid(), *pids})
    return Ticks(sum(fields), fields[7], fields[3] + fields[4], own, os.getloadavg()[0])


def _ticks_of(pid: int) -> int:
    """User and system time of a process with all its threads; 0 for one that is gone."""
    after_name = (text_of(Path(f"/proc/{pid}/stat")) or "").rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12]) if len(after_name) > 12 else 0


def between(stage: str, before: Ticks, after: Ticks) -> dict[str, object]:
    """Shares of the machine's processor time in a stage: stolen by the hypervisor, busy at all, and busy
    with processes that are not ours."""
    total = max(after.total - before.total, 1)
    steal = after.steal - before.steal
    busy = total - (after.idle - before.idle)
    foreign = max(busy - steal - max(after.own - before.own, 0), 0)
    return {
        "stage": stage,
        "steal_share": round(steal / total, 5),
        "busy_share": round(busy / total, 5),
        "foreign_share": round(foreign / total, 5),
        "load1_before": before.load1,
    }


def disturbed(before: Ticks, after: Ticks, accepted: float = DISTURBED_SHARE) -> bool:
    """Whether others had a larger share of the machine than is ``accepted``."""
    return after.total - before.total >= ENOUGH_TICKS and others(before, after) > accepted


def others(before: Ticks, after: Ticks) -> float:
    """The share of the machine's processor time that the hypervisor and processes not ours took."""
    return sum(_others(before, after))


def stolen(before: Ticks, after: Ticks) -> bool:
    """Whether the hypervisor took so much that a unit of the gate is void. What other processes do is noise
    that the gate's test allows for."""
    steal, _foreign = _others(before, after)
    return after.total - before.total >= ENOUGH_TICKS and steal > STOLEN_SHARE


def _others(before: Ticks, after: Ticks) -> tuple[float, float]:
    """Shares of the hypervisor and of processes that are not ours."""
    shares = between("", before, after)
    return float(str(shares["steal_share"])), float(str(shares["foreign_share"]))
