"""Spend what is left of a time budget on the rows whose intervals are widest, one pair at a time.

Every row has had its first pairs before. Only the width of an interval decides which row is next, never its
position, so that the error rates of the verdicts stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from bench.errors import BenchError
from bench.measure.events import Noted
from bench.measure.group import UNRECORDED
from bench.measure.pairs import Pairs, half_width
from bench.measure.together import BaselineDied
from bench.measure.worker_process import PeerGone

MOST_PAIRS = 200  # of a row: more pairs would not make its interval narrower in any useful way


class Budget:
    """A number of seconds, counted from now on."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def left_s(self) -> float:
        """Return the seconds that are left; a negative number when the time is over."""
        return self._end - monotonic()


def refine(rows: Sequence[Pairs], budget: Budget) -> None:
    """Add pairs until every interval is as narrow as ``measure.max_half_width``, or a further pair would take
    longer than what is left of the budget.

    A pair is assumed to take as long as the last pair of the same row. A row that fails in a further pair
    keeps the pairs that it has, and gets no more.
    """
    waiting = {id(row): row for row in rows if row.valid() and _half(row) > _wanted(row)}
    took_s: dict[int, float] = {}
    while waiting:
        key, row = max(waiting.items(), key=lambda item: _half(item[1]))
        if took_s.get(key, max(took_s.values(), default=0.0)) > budget.left_s():
            return
        began = monotonic()
        try:
            row.further()
        except UNRECORDED:
            raise
        except (BenchError, BaselineDied, PeerGone) as bad:
            row.context.tell(Noted(f"{row.row.title}: no more pairs ({bad})"))
            del waiting[key]
            continue
        took_s[key] = monotonic() - began
        void = len(row.units) - len(row.valid())
        full = len(row.units) >= MOST_PAIRS or void > max(row.context.measure.processes, len(row.valid()))
        if full or _half(row) <= _wanted(row):
            del waiting[key]


def _half(row: Pairs) -> float:
    """Return half the width of a row's interval, divided by its ratio."""
    return half_width(row.ratio(row.valid()))


def _wanted(row: Pairs) -> float:
    return row.context.measure.max_half_width
