"""Client and server on different processors of one machine, so that neither takes the other's time.

The client is one process with one thread: it gets the last processor that this process may use, and a server
that is started here gets the others. A child inherits the processors of the process that starts it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Apart:
    """The processors of each side, by number; nothing on a machine with one processor."""

    server: tuple[int, ...] = ()
    client: tuple[int, ...] = ()

    def to_json(self) -> dict[str, list[int]] | None:
        """Return it as it stands in a summary; None if nothing is pinned."""
        return {"server": list(self.server), "client": list(self.client)} if self.client else None

    def begin(self) -> None:
        """Let what is started from now on run on the server's processors."""
        if self.client:
            os.sched_setaffinity(0, self.server)

    def go(self) -> None:
        """Go to the client's processor ourselves: the server is running."""
        if self.client:
            os.sched_setaffinity(0, self.client)


def split(wanted: bool) -> Apart:
    """Return how the processors that this process may use are shared out, if that is wanted and possible."""
    allowed = sorted(os.sched_getaffinity(0))
    return Apart(tuple(allowed[:-1]), tuple(allowed[-1:])) if wanted and len(allowed) > 1 else Apart()


@contextmanager
def apart(wanted: bool) -> Iterator[Apart]:
    """Share the processors out for a while; afterwards this process has all of them again.

    Threads of this process that run already keep theirs: begin before there are any.
    """
    allowed = os.sched_getaffinity(0)
    found = split(wanted)
    found.begin()
    try:
        yield found
    finally:
        os.sched_setaffinity(0, allowed)
