"""How much of what a journal holds takes long to judge, and the most of it that is judged.

A journal of a few megabytes can ask for hours of work or for all memory: a token of a request takes a few
bytes of it and a figure of its own, and two replies are compared in a time that is the product of their
lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MOST_TOKENS = 3_000_000  # of all requests to servers; a journal has no more values than that
MOST_CELLS = 500_000_000_000  # of the tables of all edit distances, which take two minutes
Record = Mapping[str, Any]


def must_be_modest(arms: Sequence[Record], units: Sequence[Record]) -> None:
    """Raise ValueError for rows and units that take too long to judge; their records have their schema."""
    if sum(sum(one["tokens"]) for one in _requests(arms, units)) > MOST_TOKENS:
        raise ValueError(f"the requests to servers have more than {MOST_TOKENS} tokens")
    if sum(map(_cells, arms)) > MOST_CELLS:
        raise ValueError("the replies are too long to be compared")


def _requests(arms: Iterable[Record], units: Iterable[Record]) -> Iterator[Record]:
    blocks = [block for arm in arms for block in arm.get("loads") or ()]
    for unit in units:
        sides = unit.get("loads") or {"baseline": (), "variant": ()}
        blocks += [*sides["baseline"], *sides["variant"]]
    for block in blocks:
        yield from block["samples"]


def _cells(arm: Record) -> int:
    """Return the cells of the tables of a row's edit distances. Replies in tokens count as if the baseline's
    were as long as the row's."""
    said = arm.get("said") or ()
    texts = sum(len(one["baseline"]) * (len(one["variant"]) + len(one["again"])) for one in said)
    return texts + sum(len(reply) ** 2 for batch in arm.get("solo") or () for reply in batch["tokens"])
