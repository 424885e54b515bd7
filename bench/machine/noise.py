"""Record other activity on the machine during a pass, beside the figures, which are never corrected.

A solo pass or a pair of processes is measured again if others took more than the accepted share of the
machine (``measure.max_disturbance``). Only processor time decides that, never the figures, so it cannot
favour either side.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine.cpu_quota import throttled_ticks
from bench.machine.proc import stat_of, tree_of

STOLEN_SHARE = 0.10
STOLEN = "the hypervisor or a quota took processor time"  # why a unit of the gate is void
# Processor time is counted in hundredths of a second, and each process's is rounded by itself. In a pass of
# fewer than ENOUGH_TICKS, others count only beyond SLACK_TICKS more than their accepted share.
ENOUGH_TICKS, SLACK_TICKS = 100, 8


@dataclass(frozen=True)
class Ticks:
    """Processor time so far in clock ticks: of the whole machine, stolen, idle, and of our own processes.
    Stolen is what the hypervisor took, and what a quota of this container halted. ``load1`` is the load
    average of the last minute."""

    total: int
    steal: int
    idle: int
    own: int
    load1: float


def read_ticks(pids: Sequence[int] = ()) -> Ticks:
    """Read /proc/stat (user nice system idle iowait irq softirq steal). This process is our own, and so are
    ``pids``, which lead sessions, with all that they have started."""
    fields = [int(x) for x in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    ours = {os.getpid(), *(pid for leader in pids for pid in tree_of(leader))}
    own = sum(_ticks_of(pid) for pid in ours)
    steal = fields[7] + throttled_ticks()
    return Ticks(sum(fields), steal, fields[3] + fields[4], own, os.getloadavg()[0])


def _ticks_of(pid: int) -> int:
    """Return user and system time of a process with all its threads and the children that it has waited for;
    0 if it has ended."""
    return sum(int(field) for field in stat_of(pid)[11:15])


def between(stage: str, before: Ticks, after: Ticks) -> dict[str, object]:
    """Return shares of the machine's processor time during a stage: stolen by the hypervisor or a quota, busy
    in total, and busy with processes that are not ours."""
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


def disturbed(before: Ticks, after: Ticks, accepted: float) -> bool:
    """Return whether others had a larger share of the machine than is ``accepted``."""
    return _more_than(accepted, others(before, after), after.total - before.total)


def others(before: Ticks, after: Ticks) -> float:
    """Return the share of processor time that the hypervisor, a quota and other processes took."""
    return sum(_others(before, after))


def stolen(before: Ticks, after: Ticks) -> bool:
    """Return whether the hypervisor or a quota took so much that a unit of the gate is void. Other processes
    do not matter here: the gate's test allows for their noise."""
    steal, _foreign = _others(before, after)
    return _more_than(STOLEN_SHARE, steal, after.total - before.total)


def _more_than(accepted: float, share: float, total: int) -> bool:
    """Return whether a share of ``total`` ticks is larger than accepted, beyond what rounding can make."""
    slack = 0 if total >= ENOUGH_TICKS else SLACK_TICKS
    return share * total > accepted * total + slack


def _others(before: Ticks, after: Ticks) -> tuple[float, float]:
    """Return the share of the hypervisor and a quota, and that of processes that are not ours."""
    shares = between("", before, after)
    return float(str(shares["steal_share"])), float(str(shares["foreign_share"]))
