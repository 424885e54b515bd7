"""Count the tokens that each event of a reply carried, and say how well that is known.

Some tokens have no text: reasoning that a hosted API keeps to itself, and the token that ends a reply.

A server may put several tokens into one event, and say nothing, or something wrong, about their number. What
was counted is held against the server's usage; a count is never 0 where text came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.serving.stream_events import Event

How = Literal["token ids", "running usage", "usage", "usage spread", "events"]
TOLERANCE = 0.01
MORE_IDS = 16  # than twice the tokens that were asked for: such a count is not believed


@dataclass(frozen=True)
class Arrival:
    """One event with text: the monotonic time at which it came, and what it said."""

    at_ns: int
    event: Event


@dataclass(frozen=True)
class Tokens:
    """Output tokens of each event (``per_event``), how they were counted, and what speaks against the count.

    ``verified`` means that two sources agree: the server's usage, and what was seen in the stream.
    """

    per_event: tuple[int, ...]
    how: How
    verified: bool
    doubt: str = ""

    @property
    def total(self) -> int:
        """Return n_out."""
        return sum(self.per_event)


def with_the_end(
    arrivals: Sequence[Arrival], last: Arrival | None, said: int | None, reasoned: int | None
) -> tuple[Arrival, ...]:
    """Return the events with a token: those with text, and the ``last`` one, which says why the reply ended,
    if the server counts the token that ended it. Then its usage is one more than the events with text."""
    ended = last is not None and last.event.finish == "stop" and arrivals and said is not None
    if last is None or not ended or said != len(arrivals) + _unseen(arrivals, reasoned) + 1:
        return tuple(arrivals)
    if any(one.event.ids or (one.event.usage and one.event.usage[1]) for one in arrivals):
        return tuple(arrivals)  # it tells the tokens of each event
    return (*arrivals, last)


def first_answer(arrivals: Sequence[Arrival]) -> int:
    """Return the place of the first event that is an answer and no reasoning; their number without one."""
    answers = (at for at, one in enumerate(arrivals) if one.event.text or one.event.ids)
    first = (at for at in answers if not arrivals[at].event.thoughts)
    return next(first, len(arrivals))


def _unseen(arrivals: Sequence[Arrival], reasoned: int | None) -> int:
    """Return how many tokens of reasoning the server made and did not send."""
    return 0 if any(one.event.thoughts for one in arrivals) else reasoned or 0


def counted(
    arrivals: Sequence[Arrival], said: int | None, asked: int | None, reasoned: int | None = None
) -> Tokens:
    """Count the tokens of each event.

    Of ``reasoned`` tokens that were not sent the first event has all: they came before it, so the time per
    token is that of the tokens that were sent.
    """
    unseen = _unseen(arrivals, reasoned)
    if not unseen or said is None or not unseen < said <= (asked or said) or _running(arrivals, asked):
        return _counted(arrivals, said, asked)
    seen = _counted(arrivals, said - unseen, asked)
    return replace(seen, per_event=(seen.per_event[0] + unseen, *seen.per_event[1:])) if arrivals else seen


def _counted(arrivals: Sequence[Arrival], said: int | None, asked: int | None) -> Tokens:
    """Count the tokens of each event, all of which were sent.

    ``said`` is the server's own number of output tokens, ``asked`` the most that it was asked for. Token ids
    in the stream are exact. Else a running usage gives differences. Else one event is one token, and if the
    server says that there were more, the others are dealt out by the length of the text.
    """
    if not arrivals:
        return Tokens((), "events", False)
    exact = _ids(arrivals, asked) or _running(arrivals, asked)
    if exact is not None:
        per_event, how = exact
        doubt = _doubt(sum(per_event), said)
        return Tokens(per_event, how, said is not None and not doubt, doubt)
    events = len(arrivals)
    if said is None:
        return Tokens((1,) * events, "events", False, "the server sent no usage: an event counts as a token")
    if said < events:
        return Tokens(
            (1,) * events, "events", False, f"usage says {said} output tokens, and {events} events had text"
        )
    if asked is not None and said > asked:
        return Tokens(
            (1,) * events, "events", False, f"usage says {said} output tokens, and {asked} were asked for"
        )
    if said == events:
        return Tokens((1,) * events, "usage", True)
    return Tokens(_spread([len(one.event.text + one.event.thoughts) for one in arrivals], said),
                  "usage spread", False, f"{said} tokens came in {events} events")  # fmt: skip


def _ids(arrivals: Sequence[Arrival], asked: int | None) -> tuple[tuple[int, ...], How] | None:
    """Return how many token ids each event has; None if they have none, or many more than were asked for."""
    found = [one.event.ids for one in arrivals if one.event.ids]
    if not found or len(found) != len(arrivals):
        return None
    too_many = asked is not None and sum(found) > 2 * asked + MORE_IDS
    return None if too_many else (tuple(found), "token ids")


def _running(arrivals: Sequence[Arrival], asked: int | None) -> tuple[tuple[int, ...], How] | None:
    """Return the differences of a running usage; None without one, and for one of more tokens than were asked
    for: a number costs a server nothing, and each token has a time of its own."""
    totals = [one.event.usage[1] for one in arrivals if one.event.usage and one.event.usage[1] is not None]
    if not totals or len(totals) != len(arrivals) or (asked is not None and totals[-1] > asked):
        return None
    steps = tuple(after - before for before, after in zip([0, *totals], totals, strict=False))
    return (steps, "running usage") if min(steps) > 0 else None


def _doubt(streamed: int, said: int | None) -> str:
    if said is None:
        return "the server sent no usage to hold its token ids against"
    if abs(said - streamed) <= TOLERANCE * streamed:
        return ""
    return f"usage says {said} output tokens, and the stream held {streamed}"


def _spread(lengths: Sequence[int], total: int) -> tuple[int, ...]:
    """Deal out ``total`` tokens: one for each event, the others by the length of its text if it has any."""
    lengths = lengths if any(lengths) else [1] * len(lengths)
    more, letters = total - len(lengths), sum(lengths)
    shares = [more * length / letters for length in lengths]
    found = [int(share) for share in shares]
    by_rest = sorted(range(len(lengths)), key=lambda at: found[at] - shares[at])
    for at in by_rest[: more - sum(found)]:
        found[at] += 1
    return tuple(1 + one for one in found)
