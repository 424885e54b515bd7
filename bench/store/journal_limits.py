"""Reject journals that would take too long to evaluate.

A journal of a few megabytes can ask for hours of work or for all memory. A token of a request takes only a
few bytes of the journal but gets its own figure, and the time to compare two replies is the product of their
lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MOST_TOKENS = 3_000_000  # of all requests to servers; a journal cannot have more values than that
MOST_CELLS = 500_000_000_000  # of the tables of all edit distances; so many take two minutes
Record = Mapping[str, Any]


def must_be_modest(arms: Sequence[Record], units: Sequence[Record]) -> None:
    """Raise ValueError if rows and units take too long to evaluate; their records must fit their schema."""
    if sum(sum(request["tokens"]) for request in _requests(arms, units)) > MOST_TOKENS:
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
    """Return the number of cells in the tables of a row's edit distances.

    For replies in tokens, the baseline's replies are assumed to be as long as the row's.
    """
    replies = arm.get("said") or ()
    texts = sum(len(reply["baseline"]) * (len(reply["variant"]) + len(reply["again"])) for reply in replies)
    return texts + sum(len(reply) ** 2 for batch in arm.get("solo") or () for reply in batch["tokens"])
