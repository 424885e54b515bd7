"""Compute the costs of many runs at another price, from what an index stores of them.

The arithmetic is that of ``bench/metrics/cost.py`` and ``comparisons.py``, with the seconds per token from
``total_token_throughput``. A test compares it with ``summarise`` of the whole journal at the same price.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.errors import BenchError
from bench.pricing.cost import Price, Usage, kept_price, run_cost
from bench.pricing.reprice import misfit
from bench.results.index_records import IndexedRow, IndexedRun
from bench.stats.intervals import Interval

Block = Mapping[str, Any]
Bounds = tuple[Interval | None, Interval | None]  # (the dollars, the ratio)
TOKENS = 1000


@dataclass(frozen=True)
class Repriced:
    """One row at another price: its US dollars per thousand tokens before and now (``usd``), and its ratio.

    ``usd`` and ``ratio`` are None if the row was not measured. ``caution`` says that the price is for other
    hardware than the row ran on. ``why_not`` says why a measured row cannot be priced.
    """

    place: bytes
    run: IndexedRun
    row: IndexedRow
    before: float | None
    usd: Interval | None
    ratio: Interval | None
    caution: str = ""
    why_not: str = ""


def repriced(runs: Sequence[IndexedRun], new_block: Callable[[Block], Block]) -> Iterator[Repriced]:
    """Yield every row of these runs at another price.

    ``new_block`` makes the new price block from the old block of a run; its errors are raised.
    """
    blocks: dict[str, tuple[Block, Block]] = {}
    for run in runs:
        if run.price and run.price not in blocks:
            old = json.loads(run.price)
            blocks[run.price] = (old, new_block(old))
    prices = {text: _Pair(old, new) for text, (old, new) in blocks.items()}
    for run in runs:
        if run.rows:
            yield from _rows(run, prices[run.price])


class _Pair:
    """The old and the new price of runs that have the same price block."""

    def __init__(self, old: Block, new: Block) -> None:
        self._old = cache(lambda threads, devices: kept_price(old, "the run", threads, devices))
        self._new = cache(lambda threads, devices: kept_price(new, "the run", threads, devices))
        self.caution = cache(lambda device: misfit(new, [device]) or "")

    def shift(self, row: IndexedRow, base: IndexedRow) -> float:
        """Return the factor by which the ratio of two rows changes.

        It differs from 1 if the rows have different numbers of threads or devices, because each pays for its
        share of the machine, and the machines of both prices may have different sizes.
        """
        if not row.by_price or (row.threads, row.devices) == (base.threads, base.devices):
            return 1.0
        shares = [price(row).devices / price(base).devices for price in (self.new, self.old)]
        return shares[0] / shares[1]

    def old(self, row: IndexedRow) -> Price:
        """Return the price of what a row occupies, as it was."""
        return self._old(row.threads, row.devices)

    def new(self, row: IndexedRow) -> Price:
        """Return the price of what a row occupies, as it is asked for."""
        return self._new(row.threads, row.devices)


def _rows(run: IndexedRun, prices: _Pair) -> Iterator[Repriced]:
    bases = {row.group: row for row in reversed(run.rows) if row.is_baseline}
    for row in run.rows:
        base = bases.get(row.group)
        try:
            usd, ratio = _priced(row, base, prices)
        except BenchError as bad:  # the new price bills power, but the row's energy was not measured
            yield Repriced(run.place, run, row, row.cost, None, None, why_not=str(bad))
            continue
        caution = prices.caution(row.device) if usd is not None and row.device else ""
        yield Repriced(run.place, run, row, row.cost, usd, ratio, caution)


def _priced(row: IndexedRow, base: IndexedRow | None, prices: _Pair) -> Bounds:
    """Return (the dollars of a row, its ratio).

    If both sides were measured in pairs of processes and the price includes power, the dollars are the
    baseline's multiplied by the ratio. Otherwise they are the row's own.
    """
    alone = _alone(row, prices.new(row))
    if row.ratio is None or base is None:
        return alone, None
    ratio = Interval(row.ratio, row.ratio_low, row.ratio_high).times(prices.shift(row, base))
    basis = prices.new(row).power_basis
    of_base = _alone(base, prices.new(base))
    if row.value is None or of_base is None or alone is None or basis != "included":
        return alone, ratio
    paired = Interval(row.value, row.value_low, row.value_high)
    return paired.times(of_base.value * ratio.value / row.value), ratio


def _alone(row: IndexedRow, price: Price) -> Interval | None:
    """Return the US dollars per thousand tokens of the row's own pass, or None if it was not measured."""
    if not row.tokens_per_s or row.cost is None:
        return None
    seconds = TOKENS / row.tokens_per_s
    usd = run_cost(price, Usage(seconds, 1, TOKENS, 0, energy_j=row.joules_per_1k)).per_1k_tokens_usd
    if row.alone:
        return Interval(row.cost, row.cost_low, row.cost_high).times(usd / row.cost) if row.cost else None
    low, high = row.tokens_low, row.tokens_high
    if not low or not high:
        return Interval(usd, None, None)
    return Interval(usd, usd * row.tokens_per_s / high, usd * row.tokens_per_s / low)
