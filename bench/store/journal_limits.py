"""Reject journals that would take too long to evaluate.

A journal of a few megabytes can ask for hours of work or for all memory. A token of a request takes only a
few bytes of the journal but gets its own figure, and the time to compare two replies is the product of their
lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_TOKENS = 3_000_000  # of all requests to servers; a journal cannot have more values than that
MOST_CELLS = 500_000_000_000  # of the tables of all edit distances; so many take two minutes
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Weight:
    """How much work a row or a unit asks for: tokens of requests to servers, cells of edit distances."""

    tokens: int
    cells: int = 0


def weight_of_row(arm: Record) -> Weight:
    """Return the weight of a row, whose records must fit their schema."""
    return Weight(_tokens(arm.get("loads") or ()), _cells(arm))


def weight_of_unit(unit: Record) -> Weight:
    """Return the weight of a unit, whose record must fit its schema."""
    sides = unit.get("loads") or {"baseline": (), "variant": ()}
    return Weight(_tokens((*sides["baseline"], *sides["variant"])))


def must_be_modest(weights: Iterable[Weight]) -> None:
    """Raise ValueError if rows and units of these weights take too long to evaluate."""
    every = list(weights)
    if sum(weight.tokens for weight in every) > MOST_TOKENS:
        raise ValueError(f"the requests to servers have more than {MOST_TOKENS} tokens")
    if sum(weight.cells for weight in every) > MOST_CELLS:
        raise ValueError("the replies are too long to be compared")


def _tokens(blocks: Iterable[Record]) -> int:
    return sum(sum(request["tokens"]) for block in blocks for request in block["samples"])


def _cells(arm: Record) -> int:
    """Return the number of cells in the tables of a row's edit distances.

    For replies in tokens, the baseline's replies are assumed to be as long as the row's.
    """
    replies = arm.get("said") or ()
    texts = sum(len(reply["baseline"]) * (len(reply["variant"]) + len(reply["again"])) for reply in replies)
    return texts + sum(len(reply) ** 2 for batch in arm.get("solo") or () for reply in batch["tokens"])
