"""What an index keeps of a run and of its rows: enough to list, to filter, and to price them again.

Only the standard library is needed for it: a list of runs that have not changed reads nothing else.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from bench.formatting import row_title
from bench.store.run_files import JOURNAL, PACKED, RUN_JSON

NO_RUN, UNREADABLE = "", "unreadable"  # of a directory, in the place of a run's status
_NAMES = tuple(name.encode() for name in (JOURNAL, PACKED, RUN_JSON))


@dataclass(frozen=True)
class IndexedRow:
    """One row of a run.

    ``tokens_per_s`` counts tokens in and out of the solo pass, and ``joules_per_1k`` is the energy of a
    thousand of them. ``cost`` is ``cost_per_1k_tokens_usd`` as the run has it; ``alone`` says that its bounds
    are those of the row alone, and not of the ratio. ``value`` is the baseline's dollars times the ratio, if
    both sides were measured in pairs of processes.
    """

    name: str
    group: str
    is_baseline: bool
    status: str
    steps: str
    threads: int | None
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
    """One directory: its name in the directory of runs, the state of its files, and the run in it.

    ``status`` is that of the run, ``""`` for a directory without one, and ``unreadable`` for one that cannot
    be read, with the reason as ``why``. ``machine`` names the processor and the GPUs, ``models`` and
    ``steps`` what the rows run. ``journal_sha256`` is the digest of the journal's last line.
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
    """Return the state of the files that a summary is made from: size, times and inode of each.

    The time of the last change (``st_ctime``) is the kernel's: nobody can set it, and no archive carries it.
    So an index that came with its runs from elsewhere fits none of them.
    """
    found = []
    for name in _NAMES:
        try:
            state = os.lstat(b"/".join((directory, name)))
        except OSError:
            continue
        found.append((name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino))
    return hashlib.blake2b(repr(found).encode(), digest_size=12).hexdigest()
