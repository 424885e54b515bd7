"""A finished run beside hosted APIs: what the same requests cost there, and when it pays to serve.

The API's price of the same open weights comes first, because that compares like with like; then come the
models that people would use instead.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from bench.plan.edge_first import EdgeFirst, EdgeFirstAtApi, at_api, edge_first_rows
from bench.plan.offers import offers
from bench.plan.served import Served, row_called, served_rows
from bench.pricing.apis import ApiOffer, TokenMix, list_version
from bench.pricing.break_even import BreakEven, break_even
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

SHOWN = 2  # rows, and cascades, against each API if the user names none: more do not fit a terminal


@dataclass(frozen=True)
class Pair:
    """One row of a run against one API.

    ``ratio`` is the row's dollars for a request, at the run's utilisation, divided by the API's.
    """

    row: Served
    ratio: Interval
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
    against each API, ``cascades`` the cascades that are set before it. ``mix`` are the tokens that the API is
    billed for, ``token_ratio`` how many tokens other models make of a text for which the run's model makes
    one.
    """

    rows: tuple[Served, ...]
    chosen: tuple[Served, ...]
    cascades: tuple[EdgeFirst, ...]
    mix: TokenMix
    token_ratio: float
    apis: tuple[AgainstApi, ...]
    price_list: str
    day: dt.date

    @property
    def sold(self) -> bool:
        """Return whether an API in the list sells the run's own weights."""
        return any(api.same_weights for api in self.apis)


@dataclass(frozen=True)
class Question:
    """What is asked: which APIs and rows, how much of the input is cached, how tokenizers differ, and the
    day on which the prices must hold."""

    day: dt.date
    apis: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    cached_share: float = 0.0
    token_ratio: float = 1.0


def against_apis(run: RunSummary, weights: Sequence[str], asked: Question) -> Comparison:
    """Set a run against APIs. ``weights`` are the names under which its model is known, such as its hub id.

    Raises UsageError for an unknown row or API, and for shares out of range.
    """
    rows = served_rows(run)
    before = {one.title: one for one in edge_first_rows(run)}
    chosen = [row_called(rows, title) for title in asked.variants if title not in before] or _telling(rows)
    cascades = [before[title] for title in asked.variants if title in before]
    if not asked.variants:
        cascades = list(before.values())[:SHOWN]
    base = next((row for row in rows if row.is_baseline), rows[0])
    mix = TokenMix(base.mix.input_tokens, base.mix.output_tokens, asked.cached_share)
    found = offers(weights, asked.apis, mix, asked.token_ratio, asked.day)
    apis = tuple(_against(one, same, chosen, cascades) for one, same in found)
    return Comparison(
        tuple(rows), tuple(chosen), tuple(cascades), mix, asked.token_ratio, apis, list_version(), asked.day
    )


def _telling(rows: Sequence[Served]) -> list[Served]:
    """Return the rows to show if the user names none: the baseline, and the cheapest row that is close to it
    and cheaper, or the cheapest of all if there is none."""
    base = [row for row in rows if row.is_baseline]
    most_usd = min((row.request_usd.value for row in base), default=0.0)

    def order(row: Served) -> tuple[bool, float]:
        usd = row.request_usd.value
        return not (row.close and usd < most_usd), usd

    return [*base, *sorted((row for row in rows if not row.is_baseline), key=order)][:SHOWN]


def _against(
    found: ApiOffer, same: bool, chosen: Sequence[Served], cascades: Sequence[EdgeFirst]
) -> AgainstApi:
    pairs = tuple(
        Pair(row, _divided(row.request_usd, found.request_usd), break_even(row.own, found.request_usd))
        for row in chosen
    )
    return AgainstApi(found, same, pairs, tuple(at_api(one, found.request_usd) for one in cascades))


def _divided(usd: Interval, by: float) -> Interval:
    low, high = (None if bound is None else bound / by for bound in (usd.low, usd.high))
    return Interval(usd.value / by, low, high)
