"""List the names in a directory of runs with the time at which each was last changed.

This takes one ``stat`` for each name, which is the only way to see that a file in a directory was replaced.
Of many names it takes longer than all else, so a process beside this one does it while the index is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

NO_DIRECTORY = 0  # in the place of a change time
_LENGTH = 8  # bytes of a change time, and of their number


@dataclass(frozen=True)
class Listing:
    """What is in a directory of runs now: names, and the change time (ns) of each directory, 0 for a file.

    ``names`` are joined by ``/``, and ``changed_ns`` are the bytes of an array of 64-bit integers. Hidden
    names and broken links are left out.
    """

    names: bytes
    changed_ns: bytes

    @property
    def digest(self) -> str:
        """Return 32 hex digits, which are others if a directory was added, deleted or changed."""
        return hashlib.blake2b(self.changed_ns + self.names, digest_size=16).hexdigest()

    def differing(self, known: dict[bytes, int]) -> dict[bytes, int]:
        """Return the directories with another change time than in ``known``, with theirs. Those that are
        listed are removed from ``known``."""
        names = self.names.split(b"/") if self.names else []
        found = zip(names, array("q", self.changed_ns), strict=True)
        return {name: ns for name, ns in found if ns != NO_DIRECTORY and known.pop(name, None) != ns}


def listing_of(out: Path) -> Listing:
    """Return the listing of a directory."""
    root = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = [name for name in os.listdir(os.fsencode(out)) if not name.startswith(b".")]  # noqa: PTH208
        try:
            changed = [_changed_ns(os.stat(name, dir_fd=root)) for name in names]
        except OSError:  # one of them has gone, or is a broken link
            found = list(_those_that_are_there(names, root))
            names, changed = [name for name, _ns in found], [ns for _name, ns in found]
    finally:
        os.close(root)
    return Listing(b"/".join(names), array("q", changed).tobytes())


def _changed_ns(state: os.stat_result) -> int:
    return state.st_ctime_ns if stat.S_ISDIR(state.st_mode) else NO_DIRECTORY


def _those_that_are_there(names: list[bytes], root: int) -> Iterator[tuple[bytes, int]]:
    for name in names:
        try:
            yield name, _changed_ns(os.stat(name, dir_fd=root))
        except OSError:
            continue


def begin_listing(out: Path) -> Callable[[], Listing]:
    """Begin to list a directory in a process beside this one; return what waits for the listing.

    If no process can be started, or it ends early, this process makes the listing.
    """
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return lambda: listing_of(out)
    if not child:
        _send(out, writing)
    os.close(writing)
    return lambda: _received(reading, child) or listing_of(out)


def _send(out: Path, writing: int) -> NoReturn:
    """Write the listing to a pipe and leave, with 0 if all of it was written."""
    code = 1
    try:
        listing = listing_of(out)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write((len(listing.changed_ns) // _LENGTH).to_bytes(_LENGTH, "big"))
            pipe.write(listing.changed_ns)
            pipe.write(listing.names)
        code = 0
    finally:
        os._exit(code)  # nothing that the command has begun may end twice


def _received(reading: int, child: int) -> Listing | None:
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _pid, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        return None
    end = _LENGTH + _LENGTH * int.from_bytes(data[:_LENGTH], "big")
    return Listing(data[end:], data[_LENGTH:end])
