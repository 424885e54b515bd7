"""List the names in a directory of runs with the time at which each was last changed."""

from __future__ import annotations

import hashlib
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NO_DIRECTORY = 0  # in the place of a change time


@dataclass(frozen=True)
class Listing:
    """What is in a directory of runs now: names, and the change time (ns) of each directory, 0 for a file.

    Hidden names and broken links are left out. ``digest`` (32 hex digits) is another one if a directory was
    added, deleted or changed.
    """

    names: list[bytes]
    changed_ns: array[int]
    digest: str

    def differing(self, known: dict[bytes, int]) -> dict[bytes, int]:
        """Return the directories with another change time than in ``known``, with theirs. Those that are
        listed are removed from ``known``."""
        found = zip(self.names, self.changed_ns, strict=True)
        return {name: ns for name, ns in found if ns != NO_DIRECTORY and known.pop(name, None) != ns}


def listing_of(out: Path) -> Listing:
    """Return the listing of a directory. This takes one ``stat`` for each name, which is the only way to see
    that a file in a directory was replaced."""
    root = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = [name for name in os.listdir(os.fsencode(out)) if not name.startswith(b".")]  # noqa: PTH208
        try:
            changed = array("q", [_changed_ns(os.stat(name, dir_fd=root)) for name in names])
        except OSError:  # one of them has gone, or is a broken link
            found = list(_those_that_are_there(names, root))
            names, changed = [name for name, _ns in found], array("q", [ns for _name, ns in found])
    finally:
        os.close(root)
    digest = hashlib.blake2b(b"/".join(names), digest_size=16)
    digest.update(changed.tobytes())
    return Listing(names, changed, digest.hexdigest())


def _changed_ns(state: os.stat_result) -> int:
    return state.st_ctime_ns if stat.S_ISDIR(state.st_mode) else NO_DIRECTORY


def _those_that_are_there(names: list[bytes], root: int) -> Iterator[tuple[bytes, int]]:
    for name in names:
        try:
            yield name, _changed_ns(os.stat(name, dir_fd=root))
        except OSError:
            continue
