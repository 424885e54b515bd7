"""Pin client and server to different processors of one machine, so that neither takes the other's time.

The client is one process with one thread: it gets the last processor that this process may use, and a server
that is started here gets the others. A child inherits the processors of the process that starts it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.formatting import count

NO_AFFINITY = "this platform does not keep a process on a processor"
ONE_PROCESSOR = "there is one processor only"
# How engines call their threads: of every pass, and of those that read prompts.
ALL_PASSES, PROMPTS = ("--threads", "-t"), ("--threads-batch", "-tb")
_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True)
class Apart:
    """The processors of each side, by number. Where nothing is pinned there are none, and ``why_not`` says
    why ('' if no server is on this machine)."""

    server: tuple[int, ...] = ()
    client: tuple[int, ...] = ()
    why_not: str = field(default="", compare=False)

    def to_json(self) -> dict[str, list[int]] | None:
        """Return it as it stands in a summary; None if nothing is pinned."""
        return {"server": list(self.server), "client": list(self.client)} if self.client else None

    def said(self) -> dict[str, object]:
        """Return what the evidence of a row says of it."""
        if self.client:
            return {"pinned": self.to_json()}
        return {"not_pinned": self.why_not} if self.why_not else {}

    def begin(self) -> None:
        """Move this process, and what it starts from now on, to the server's processors."""
        if self.client:
            os.sched_setaffinity(0, self.server)

    def go(self) -> None:
        """Move this process to the client's processor: the server is running."""
        if self.client:
            os.sched_setaffinity(0, self.client)

    def told(self, flag: str | None, arguments: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the arguments that tell an engine how many processors it has, by its flag for them.

        There are none if nothing is pinned, if the engine takes no number, and if its ``arguments`` have one.
        """
        said = threads_in(arguments, ALL_PASSES)
        return (flag, str(len(self.server))) if flag and self.server and not said else ()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Let what is started inside run on the server's processors; then give this process its own again."""
        with _all_again(self):
            self.begin()
            yield

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Stay on the client's processor inside; then give this process its own again."""
        with _all_again(self):
            self.go()
            yield


SHARED = Apart()


def split(wanted: bool, threads: int = 0, unwanted: str = "it was not asked for") -> Apart:
    """Return how the processors that this process may use are shared out, if that is wanted and possible.

    ``threads`` is how many a server was told to use (0: not told). One that wants more than are left for it
    would be slower than without the client, so nothing is pinned then.
    """
    if not wanted:
        return Apart(why_not=unwanted)
    if not hasattr(os, "sched_getaffinity"):
        return Apart(why_not=NO_AFFINITY)
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Apart(why_not=ONE_PROCESSOR)
    if threads > len(allowed) - 1:
        left = count(len(allowed) - 1, "processor")
        return Apart(why_not=f"a server wants {threads} threads, and the client would leave it {left}")
    return Apart(tuple(allowed[:-1]), tuple(allowed[-1:]))


def threads_in(arguments: Sequence[str], flags: Sequence[str] = ALL_PASSES + PROMPTS) -> int:
    """Return the largest number of threads that an engine's arguments ask for, as in ``--threads 2`` or
    ``--threads=2``; 0 if none does, or if it says no number above 0."""
    said = [0]
    for place, word in enumerate(arguments):
        flag, equals, value = word.partition("=")
        if flag in flags:
            number = value if equals else "".join(arguments[place + 1 : place + 2])
            said.append(int(number) if _NUMBER.fullmatch(number) else 0)
    return max(said)


@contextmanager
def apart(wanted: bool, threads: int = 0) -> Iterator[Apart]:
    """Share the processors out for a while; afterwards this process has all of them again. ``threads`` is how
    many the server was told to use (0: not told).

    Threads of this process that run already keep theirs: begin before there are any.
    """
    found = split(wanted, threads, "--no-pin")
    with _all_again(found):
        found.begin()
        yield found


@contextmanager
def _all_again(found: Apart) -> Iterator[None]:
    """Give this process back what it may use now, at the end."""
    if not found.client:
        yield
        return
    allowed = os.sched_getaffinity(0)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
