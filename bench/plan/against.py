"""A finished run beside hosted APIs: what the same requests cost there, and when it pays to serve.

The API's price of the same open weights comes first, because that compares like with like; then come the
models that people would use instead.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.plan.edge_first import EdgeFirst, EdgeFirstAtApi, at_api, edge_first_rows
from bench.plan.offers import offers
from bench.plan.prompt_cache import CachedRow, cached_rows
from bench.plan.served import Served, row_called, served_rows
from bench.pricing.apis import ApiOffer, TokenMix, list_version
from bench.pricing.break_even import BreakEven, break_even
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

SHOWN = 2  # rows, and cascades, against each API if the user names none: more do not fit a terminal
SAME = 1e-6  # two mean requests are of the same length if they differ by less


@dataclass(frozen=True)
class Pair:
    """One row of a run against one API.

    ``api_usd`` is what the API bills for a request of this row, and ``uncached_usd`` what it would bill if
    nothing were cached. ``ratio`` is the row's dollars for it, at the run's utilisation, divided by
    ``api_usd``; None if the API is free.
    """

    row: Served
    api_usd: float
    uncached_usd: float
    ratio: Interval | None
    even: BreakEven


@dataclass(frozen=True)
class AgainstApi:
    """One API beside the chosen rows of a run; ``same_weights`` says that it sells the run's own model.

    ``cascades`` are the run's cascades with this API in the place of their large model.
    """

    offer: ApiOffer
    same_weights: bool
    pairs: tuple[Pair, ...]
    cascades: tuple[EdgeFirstAtApi, ...]


@dataclass(frozen=True)
class Comparison:
    """A run against APIs.

    ``rows`` are all rows that were measured and are priced by their time, ``chosen`` those that are set
    against each API, ``cascades`` the cascades that are set before it. ``mix`` are the tokens that an API is
    billed for in the place of the first chosen row: its offers are for them, and each other row has the price
    of its own. ``token_ratio`` is how many tokens other models make of a text for which the run's model makes
    one. ``not_priced`` says of each other cascade why it is not there. ``caches`` are the rows whose server
    found a part of its prompts in a cache.
    """

    rows: tuple[Served, ...]
    chosen: tuple[Served, ...]
    cascades: tuple[EdgeFirst, ...]
    mix: TokenMix
    token_ratio: float
    apis: tuple[AgainstApi, ...]
    price_list: str
    day: dt.date
    not_priced: tuple[str, ...] = ()
    caches: tuple[CachedRow, ...] = ()

    @property
    def sold(self) -> bool:
        """Return whether an API in the list sells the run's own weights."""
        return any(api.same_weights for api in self.apis)

    @property
    def same_requests(self) -> bool:
        """Return whether all rows that are set against APIs are billed for requests of the same length."""
        mixes = [*(row.billed for row in self.chosen), *(one.mix for one in self.cascades)]
        return all(alike(one, self.mix) for one in mixes)


@dataclass(frozen=True)
class Question:
    """What is asked: which APIs and rows, how much of the input an API reads from its cache and writes to it,
    how tokenizers differ, and the day on which the prices must hold.

    Without ``cached_share`` it is what the row's own server found in its cache.
    """

    day: dt.date
    apis: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    cached_share: float | None = None
    token_ratio: float = 1.0
    written_share: float | None = None

    def billed(self, mix: TokenMix) -> TokenMix:
        """Return a mean request with what is cached of it."""
        cached = mix.cached_share if self.cached_share is None else self.cached_share
        return replace(mix, cached_share=cached, written_share=self.written_share)


def against_apis(run: RunSummary, weights: Sequence[str], asked: Question) -> Comparison:
    """Set a run against APIs. ``weights`` are the names under which its model is known, such as its hub id.

    Raises UsageError for an unknown row or API, and for shares out of range.
    """
    rows = [replace(row, billed=asked.billed(row.billed)) for row in served_rows(run)]
    routed, why_not = edge_first_rows(run)
    before = {one.title: replace(one, mix=asked.billed(one.mix)) for one in routed}
    chosen = [row_called(rows, title) for title in asked.variants if title not in before] or _telling(
        run, rows
    )
    cascades = [before[title] for title in asked.variants if title in before]
    if not asked.variants:
        cascades = list(before.values())[:SHOWN]
    mixes = [*(row.billed for row in chosen), *(one.mix for one in cascades)]
    priced = {
        mix: offers(weights, asked.apis, mix, asked.token_ratio, asked.day) for mix in dict.fromkeys(mixes)
    }
    usd = {mix: {one.ref: one for one, _same in found} for mix, found in priced.items()}
    apis = tuple(_against(one, same, usd, chosen, cascades) for one, same in priced[mixes[0]])
    return Comparison(
        tuple(rows),
        tuple(chosen),
        tuple(cascades),
        mixes[0],
        asked.token_ratio,
        apis,
        list_version(),
        asked.day,
        tuple(why_not),
        cached_rows(run, rows),
    )


def alike(one: TokenMix, other: TokenMix) -> bool:
    """Return whether an API bills the same for two mean requests: they have the same tokens, but for the
    rounding of their sums, and the same share of them is cached."""
    return all(
        math.isclose(getattr(one, key), getattr(other, key), rel_tol=SAME, abs_tol=SAME)
        for key in ("input_tokens", "output_tokens", "cached_share")
    )


def _telling(run: RunSummary, rows: Sequence[Served]) -> list[Served]:
    """Return the rows to show if the user names none: the first baseline, and the row that costs least beside
    the baseline of its own cell, of those that are close to it and cheaper, or of all if there is none."""
    usd = {row.title: row.request_usd.value for row in rows}
    base_usd = {row.title: usd.get(run.baseline_of(row).title) for row in run.rows}

    def order(row: Served) -> tuple[bool, float, float]:
        beside = base_usd[row.title]
        share = usd[row.title] / beside if beside else math.inf
        return not (row.close and share < 1), share, usd[row.title]

    base = [row for row in rows if row.is_baseline]
    others = sorted((row for row in rows if not row.is_baseline), key=order)
    return [*base[:1], *others, *base[1:]][:SHOWN]


def _against(
    found: ApiOffer,
    same: bool,
    usd: Mapping[TokenMix, Mapping[str, ApiOffer]],
    chosen: Sequence[Served],
    cascades: Sequence[EdgeFirst],
) -> AgainstApi:
    """Set the rows against an API. ``usd`` is what each API bills for each mean request."""
    pairs = []
    for row in chosen:
        bill = usd[row.billed][found.ref]
        ratio, even = _divided(row.request_usd, bill.request_usd), break_even(row.own, bill.request_usd)
        pairs.append(Pair(row, bill.request_usd, bill.uncached_usd, ratio, even))
    before = tuple(at_api(one, usd[one.mix][found.ref].request_usd) for one in cascades)
    return AgainstApi(found, same, tuple(pairs), before)


def _divided(usd: Interval, by: float) -> Interval | None:
    if not by:
        return None
    low, high = (None if bound is None else bound / by for bound in (usd.low, usd.high))
    return Interval(usd.value / by, low, high)
