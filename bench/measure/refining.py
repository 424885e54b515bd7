"""Spend what is left of a time budget on the rows whose intervals are widest, one pair at a time.

Every row has had its first pairs before. Only the width of an interval decides which row is next, never its
position, so that the error rates of the verdicts stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from bench.errors import VariantFailed
from bench.measure.events import Noted
from bench.measure.pairs import Pairs, half_width
from bench.measure.together import BaselineDied
from bench.measure.worker_process import PeerGone

MOST_PAIRS = 200  # of a row: with more, what is left is no luck of processes


class Budget:
    """So many seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def left_s(self) -> float:
        """Return what is left; below 0 when the time is over."""
        return self._end - monotonic()


def refine(rows: Sequence[Pairs], budget: Budget) -> None:
    """Add pairs until every interval is as narrow as ``measure.max_half_width``, or a further pair would take
    longer than what is left of the budget.

    A pair of a row is taken to last as long as its last one. A row that fails in a further pair keeps what
    it has, and gets no more.
    """
    waiting = {id(row): row for row in rows if row.valid() and _half(row) > _wanted(row)}
    took_s: dict[int, float] = {}
    while waiting:
        key, row = max(waiting.items(), key=lambda one: _half(one[1]))
        if took_s.get(key, max(took_s.values(), default=0.0)) > budget.left_s():
            return
        began = monotonic()
        try:
            row.further()
        except (VariantFailed, BaselineDied, PeerGone) as bad:
            row.context.tell(Noted(f"{row.row.title}: no more pairs ({bad})"))
            del waiting[key]
            continue
        took_s[key] = monotonic() - began
        void = len(row.units) - len(row.valid())
        full = len(row.units) >= MOST_PAIRS or void > max(row.context.measure.processes, len(row.valid()))
        if full or _half(row) <= _wanted(row):
            del waiting[key]


def _half(row: Pairs) -> float:
    return half_width(row.ratio(row.valid()))


def _wanted(row: Pairs) -> float:
    return row.context.measure.max_half_width
