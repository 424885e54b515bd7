"""Define what an index stores of a run and of its rows: enough to list, to filter and to re-price them.

This module needs only the standard library and small modules, so that listing unchanged runs is fast.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from bench.formatting import row_title
from bench.store.run_files import JOURNALS, REST, RUN_JSON, SAMPLES

NO_RUN, UNREADABLE = "", "unreadable"  # statuses of a directory, in addition to those of a run
_NAMES = (*JOURNALS, SAMPLES, RUN_JSON)


@dataclass(frozen=True)
class IndexedRow:
    """One row of a run.

    ``tokens_per_s`` counts input and output tokens of the solo pass, and ``joules_per_1k`` is the energy of a
    thousand of them. ``cost`` is ``cost_per_1k_tokens_usd`` of the run; ``alone`` says that its bounds come
    from the row alone instead of the ratio. ``by_price`` says that the ratio changes with the price of each
    row. ``value`` is the baseline's dollars times the ratio, if both sides were measured in pairs of
    processes.
    """

    name: str
    group: str
    is_baseline: bool
    status: str
    steps: str
    threads: int | None
    devices: int
    device: str
    tokens_per_s: float | None
    tokens_low: float | None
    tokens_high: float | None
    joules_per_1k: float | None
    cost: float | None
    cost_low: float | None
    cost_high: float | None
    alone: bool
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    by_price: bool
    value: float | None
    value_low: float | None
    value_high: float | None

    @property
    def title(self) -> str:
        """Return the row's name within its run."""
        return row_title(self.group, self.name)


@dataclass(frozen=True)
class IndexedRun:
    """One directory: its name (``place``), the state of its files, and the run in it.

    ``status`` is the status of the run, ``""`` for a directory without a run, and ``unreadable`` for a run
    that cannot be read, with the reason in ``why``. ``machine`` names the processor and the GPUs, and
    ``models`` the models of the rows. ``journal_sha256`` is the digest of the journal's last line.
    """

    place: bytes
    changed_ns: int
    files: str
    status: str
    why: str = ""
    journal_sha256: str = ""
    run_id: str = ""
    name: str = ""
    started: str = ""
    finished: str | None = None
    verdict: str = ""
    models: str = ""
    machine: str = ""
    price: str = ""
    rows: tuple[IndexedRow, ...] = ()


def files_of(directory: bytes) -> str:
    """Return a digest of the state of the files that a summary is made from: size, times and inode of each.

    The kernel sets the time of the last change (``st_ctime``); no user can set it, and no archive stores it.
    So an index that was copied together with its runs matches none of them, and they are read again. A packed
    or compacted journal beside an unpacked one changes the directory and is not looked at.
    """
    states = [
        (name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        for name, state in _states(directory)
    ]
    return hashlib.blake2b(repr(states).encode(), digest_size=12).hexdigest()


def changed_ns(directory: bytes) -> int:
    """Return when the directory or one of these files was last changed, in nanoseconds; 0 if it has gone."""
    try:
        own = os.lstat(directory).st_ctime_ns
    except OSError:
        return 0
    return max(own, *(state.st_ctime_ns for _name, state in _states(directory)), 0)


def _states(directory: bytes) -> Iterator[tuple[str, os.stat_result]]:
    before: str | None = None
    for name in _NAMES:
        if (before and name in JOURNALS) or (name == SAMPLES and before != REST):
            continue
        try:
            state = os.lstat(b"/".join((directory, name.encode())))
        except OSError:
            continue
        before = name
        yield name, state
