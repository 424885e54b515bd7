"""Read /proc: the processor, and other processes, which can disappear between listing and reading.

If a thread has ended or a child was reaped, the file cannot be opened, the read fails or the text is empty.
Each of these means "gone" and is not an error. A child may also ask to end with its parent.

Standard library only, because the worker uses this file too.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT = 1  # of ``stat``, from its state on
OWN_CHILDREN = Path("/proc/thread-self/children")


def text_of(path: Path) -> str | None:
    """Return the text of a small system file, or None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def numbers_in(path: Path) -> list[int]:
    """Return the whole numbers in a file such as a task's ``children`` or ``statm``; none if it is gone."""
    return [int(word) for word in (text_of(path) or "").split() if word.isdecimal()]


def entries(directory: Path) -> list[Path]:
    """List a directory that may have disappeared, such as ``/proc/PID/task``."""
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def stat_of(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the name, from the state on; none if it has ended."""
    return (text_of(Path(f"/proc/{pid}/stat")) or "").rpartition(")")[2].split()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started and that still exist, with theirs, in any order."""
    children = _children if OWN_CHILDREN.is_file() else _children_by_parent()
    found: list[int] = []
    left = [pid]
    while left:
        below = children(left.pop())
        found += below
        left += below
    return found


def _children(pid: int) -> list[int]:
    return [child for task in entries(Path(f"/proc/{pid}/task")) for child in numbers_in(task / "children")]


def _children_by_parent() -> Callable[[int], list[int]]:
    """Return the function that finds the children of a process where the kernel has no list of them."""
    found: dict[int, list[int]] = {}
    for entry in entries(Path("/proc")):
        if entry.name.isdecimal() and (state := stat_of(int(entry.name))):
            found.setdefault(int(state[PARENT]), []).append(int(entry.name))
    return lambda pid: found.get(pid, [])


def adopt_orphans() -> None:
    """Let Linux make this process the parent of what it has started and whose own parent has ended.

    A daemon that user code starts is then still found below the process that is measured, with the work that
    it does and when it has to end.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def session_of(leader: int) -> list[int]:
    """Return the process ids of a session: its leader, and all that it has started and that still run."""
    pids = [int(entry.name) for entry in entries(Path("/proc")) if entry.name.isdecimal()]
    return [leader, *(pid for pid in pids if pid != leader and _is_in(leader, pid))]


def tree_of(leader: int) -> list[int]:
    """Return the process ids of a session, and of what its leader has started in other sessions."""
    return list(dict.fromkeys([*session_of(leader), *descendants(leader)]))


def _is_in(session: int, pid: int) -> bool:
    """Return whether a process is in a session; one that has ended is in none."""
    try:
        return os.getsid(pid) == session
    except OSError:
        return False


def ending_with_parent(number: int, parent: int | None = None) -> Callable[[], None]:
    """Return a function with which a child asks Linux for the signal ``number`` when its ``parent`` dies (a
    process id; by default this process). If the parent has died already, the child gets it at once.

    A child calls it before it runs anything else (``preexec_fn``). The C library is looked up here, before
    the fork, after which only little is safe.
    """
    prctl, expected = ctypes.CDLL(None).prctl, parent or os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != expected:
            os.kill(os.getpid(), number)

    return ask


def be_killed_first() -> None:
    """Let Linux kill this process, and what it starts, before all others when memory runs out.

    Every process of ours that holds a model calls this before it loads one. Else the kernel may choose the
    harness, or a program of the user that has nothing to do with it.
    """
    with suppress(OSError):  # /proc may be read-only, or missing: then the kernel chooses as it likes
        Path("/proc/self/oom_score_adj").write_text("1000")


def as_allowed(kind: int, most: int) -> int:
    """Return the limit ``most`` of a ``kind`` (``resource.RLIMIT_DATA``), or the hard limit of this process
    if that is lower: the kernel lets nobody but root raise it."""
    _soft, hard = resource.getrlimit(kind)
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def is_open(path: Path) -> bool | None:
    """Return whether a process holds a file open; None if only another user's process may, into which nobody
    but root can look."""
    name = str(path.resolve())
    pids = [entry for entry in entries(Path("/proc")) if entry.name.isdecimal()]
    if any(_leads_to(link, name) for entry in pids for link in entries(entry / "fd")):
        return True
    try:
        owner = path.stat().st_uid
    except OSError:
        return False
    return False if os.getuid() in (0, owner) else None


def _leads_to(link: Path, name: str) -> bool:
    try:
        return str(link.readlink()) == name
    except OSError:
        return False


def cpu_fields() -> dict[str, str]:
    """Return the first processor's block of /proc/cpuinfo; empty on other systems."""
    info = text_of(Path("/proc/cpuinfo")) or ""
    lines = (line.partition(":") for line in info.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _colon, value in lines}


def cpu_flags() -> frozenset[str]:
    """Return the names of what the processor can do: ``flags`` on x86, ``Features`` on ARM."""
    found = cpu_fields()
    return frozenset(found.get("flags", found.get("Features", "")).split())
