"""Compare a finished run with hosted APIs: what they bill for the same requests, and when serving pays.

APIs that sell the run's own weights come first, because they offer the same model. The models that people
would use instead come after them.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.plan.edge_first import EdgeFirst, EdgeFirstAtApi, at_api, edge_first_rows
from bench.plan.offers import offers
from bench.plan.prompt_cache import CachedRow, cached_rows
from bench.plan.served import Served, failed_rows, must_be_served, row_called, served_rows
from bench.plan.two_devices import split_rows
from bench.pricing.apis import ApiOffer, TokenMix, list_version, sold_as
from bench.pricing.break_even import BreakEven, break_even
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

SHOWN = 2  # rows, and cascades, shown against each API if the user names none: more do not fit a terminal
SAME = 1e-6  # relative difference below which two mean requests count as equally long


@dataclass(frozen=True)
class Pair:
    """One row of a run compared with one API.

    ``api_usd`` is what the API bills for a request of this row, and ``uncached_usd`` what it would bill if
    nothing were cached. ``ratio`` is what the same request costs on the row, at the run's utilisation,
    divided by ``api_usd``; it is None if the API is free.
    """

    row: Served
    api_usd: float
    uncached_usd: float
    ratio: Interval | None
    even: BreakEven


@dataclass(frozen=True)
class AgainstApi:
    """One API compared with the chosen rows of a run.

    ``same_weights`` says whether the API sells the run's own model. ``cascades`` are the run's cascades with
    this API in place of their large model.
    """

    offer: ApiOffer
    same_weights: bool
    pairs: tuple[Pair, ...]
    cascades: tuple[EdgeFirstAtApi, ...]


@dataclass(frozen=True)
class Comparison:
    """A run compared with APIs.

    ``rows`` are all measured rows that are priced by their time, ``chosen`` those that are compared with each
    API, and ``cascades`` the cascades that could use an API as their large model. ``mix`` is the mean request
    of the first chosen row as an API bills it; the offers in ``apis`` are for it, while each other row is
    compared at the price of its own mean request. ``token_ratio`` is the number of tokens of other models per
    token of the run's model, for the same text. ``not_priced`` has the reason for each row that is left
    out. ``caches`` are the rows whose server found a part of its prompts in a cache, and ``weights`` the
    names of the run's model on a hub.
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
    weights: tuple[str, ...] = ()

    @property
    def sold(self) -> bool:
        """Return whether an API in the list sells the run's own weights, also if it is not among ``apis``."""
        return bool(sold_as(self.weights))

    @property
    def same_requests(self) -> bool:
        """Return whether an API bills the same for the mean requests of all rows that are compared."""
        mixes = [*(row.billed for row in self.chosen), *(cascade.mix for cascade in self.cascades)]
        return all(alike(mix, self.mix) for mix in mixes)


@dataclass(frozen=True)
class Question:
    """What the user asks: which APIs and rows to compare, and on what assumptions.

    ``day`` is the day on which the prices must be valid. ``cached_share`` and ``written_share`` are the
    shares of the input that an API reads from its cache and writes to it; without ``cached_share`` it is the
    share that the row's own server found in its cache. ``token_ratio`` says how tokenizers differ (see
    `Comparison`).
    """

    day: dt.date
    apis: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    cached_share: float | None = None
    token_ratio: float = 1.0
    written_share: float | None = None

    def billed(self, mix: TokenMix) -> TokenMix:
        """Return a mean request with the shares of its input that an API caches."""
        cached = mix.cached_share if self.cached_share is None else self.cached_share
        return replace(mix, cached_share=cached, written_share=self.written_share)


def against_apis(run: RunSummary, weights: Sequence[str], asked: Question) -> Comparison:
    """Compare a run with APIs. ``weights`` are the names under which its model is known, such as its hub id.

    Raises UsageError for an unknown row or API, and for shares out of range.
    """
    rows = [replace(row, billed=asked.billed(row.billed)) for row in served_rows(run)]
    routed, why_not = edge_first_rows(run)
    before = {cascade.title: replace(cascade, mix=asked.billed(cascade.mix)) for cascade in routed}
    named = [title for title in asked.variants if title not in before]
    for title in named:
        must_be_served(run, title)
    chosen = [row_called(rows, title) for title in named] or _default_rows(run, rows)
    cascades = [before[title] for title in asked.variants if title in before]
    if not asked.variants:
        cascades = list(before.values())[:SHOWN]
    mixes = [*(row.billed for row in chosen), *(cascade.mix for cascade in cascades)]
    priced = {
        mix: offers(weights, asked.apis, mix, asked.token_ratio, asked.day) for mix in dict.fromkeys(mixes)
    }
    bills = {mix: {offer.ref: offer for offer, _same in offered} for mix, offered in priced.items()}
    apis = tuple(_against(offer, same, bills, chosen, cascades) for offer, same in priced[mixes[0]])
    return Comparison(
        tuple(rows),
        tuple(chosen),
        tuple(cascades),
        mixes[0],
        asked.token_ratio,
        apis,
        list_version(),
        asked.day,
        (*why_not, *split_rows(run), *failed_rows(run)),
        cached_rows(run, rows),
        tuple(weights),
    )


def alike(mix: TokenMix, other: TokenMix) -> bool:
    """Return whether an API bills the same for two mean requests.

    It does if their tokens are the same up to rounding and the same share of them is cached.
    """
    return all(
        math.isclose(getattr(mix, key), getattr(other, key), rel_tol=SAME, abs_tol=SAME)
        for key in ("input_tokens", "output_tokens", "cached_share")
    )


def _default_rows(run: RunSummary, rows: Sequence[Served]) -> list[Served]:
    """Choose the rows to show if the user names none: the first baseline and the best other row.

    The best row has the lowest cost relative to the baseline of its own cell. Rows that are cheaper than
    their baseline and close to its output go before all others.
    """
    usd = {row.title: row.request_usd.value for row in rows}
    base_usd = {row.title: usd.get(run.baseline_of(row).title) for row in run.rows}

    def order(row: Served) -> tuple[bool, float, float]:
        baseline_usd = base_usd[row.title]
        ratio = usd[row.title] / baseline_usd if baseline_usd else math.inf
        return not (row.close and ratio < 1), ratio, usd[row.title]

    base = [row for row in rows if row.is_baseline]
    others = sorted((row for row in rows if not row.is_baseline), key=order)
    return [*base[:1], *others, *base[1:]][:SHOWN]


def _against(
    offer: ApiOffer,
    same: bool,
    bills: Mapping[TokenMix, Mapping[str, ApiOffer]],
    chosen: Sequence[Served],
    cascades: Sequence[EdgeFirst],
) -> AgainstApi:
    """Compare the rows with one API. ``bills`` has every API's offer, by mean request and by API."""
    pairs = []
    for row in chosen:
        bill = bills[row.billed][offer.ref]
        ratio, even = _divided(row.request_usd, bill.request_usd), break_even(row.own, bill.request_usd)
        pairs.append(Pair(row, bill.request_usd, bill.uncached_usd, ratio, even))
    before = tuple(at_api(cascade, bills[cascade.mix][offer.ref].request_usd) for cascade in cascades)
    return AgainstApi(offer, same, tuple(pairs), before)


def _divided(usd: Interval, by: float) -> Interval | None:
    if not by:
        return None
    low, high = (None if bound is None else bound / by for bound in (usd.low, usd.high))
    return Interval(usd.value / by, low, high)
