"""Print a run compared with APIs, and where both cost the same: `bench price RUN --against api`."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.cli.api_notes import api_notes
from bench.cli.cache_pages import cache_lines
from bench.cli.plan_words import none_of_the_same
from bench.cli.tables import align
from bench.formatting import format_setting, format_share, format_significant
from bench.plan.api_comparison import AgainstApi, Comparison, Pair
from bench.plan.edge_first import FORMULA_EDGE_FIRST
from bench.plan.served import Served
from bench.pricing import apis, break_even
from bench.pricing.apis import TokenMix
from bench.report.row_sentence import bounds_text
from bench.results.run_summary import RunSummary
from bench.stats.intervals import Interval

NEVER, FREE = "never", "free"


def against_page(run: RunSummary, comparison: Comparison) -> str:
    """Return the whole comparison as text."""
    mix = comparison.mix
    own = "" if comparison.same_requests else "; rows of other requests are billed for their own"
    cached = f", {mix.cached_share:.1%} of the input from a prompt cache" if mix.cached_share else ""
    if mix.written_share:
        cached += f", {mix.written_share:.1%} written to one"
    yours = [("", "$/1M requests", "$/1M tokens", "s a request", "drift")]
    yours += [
        (
            f"  {row.title}",
            _per_million(row.request_usd),
            _tokens_usd(row),
            format_significant(row.own.request_s.value),
            row.drift,
        )
        for row in comparison.rows
    ]
    heads = [head for row in comparison.chosen for head in _heads(row, comparison)]
    theirs = [
        ("", "$/1M requests", "batch", *heads),
        *_offer_rows(comparison),
    ]
    return "\n".join(
        (
            f"{run.name}: {_tokens(mix.input_tokens)} tokens in and {_tokens(mix.output_tokens)} out a "
            f"request{cached}{own}",
            "",
            f"On your own: {run.price['name']}, {run.price['date']}, used "
            f"{format_setting(run.price['utilisation'])} of the time",
            *align(yours),
            "",
            f"At an API: {comparison.price_list}, prices of {comparison.day}",
            *align(theirs),
            "",
            *cache_lines(comparison),
            *_edge_first(comparison),
            *api_notes(comparison),
        )
    )


def _edge_first(comparison: Comparison) -> Iterator[str]:
    """Yield the tables of cascades with each API in place of their large model; nothing without cascades."""
    if not comparison.cascades:
        return
    yield "A cascade before an API: its edge answers first, and what its rule sends on goes to the API"
    lines: list[tuple[str, ...]] = [("", "edge $/1M requests", "sent on", "reached it", "tokens in + out")]
    lines += [
        (
            f"  {cascade.title}",
            _per_million(cascade.edge_usd),
            _share(cascade.share),
            _share(cascade.reached),
            _requests(cascade.mix),
        )
        for cascade in comparison.cascades
    ]
    yield from align(lines)
    yield ""
    heads = (head for cascade in comparison.cascades for head in (f"{cascade.title} $/1M requests", "÷ API"))
    lines = [("", *heads)]
    for api in comparison.apis:
        pairs = ((_per_million(each.request_usd), _ratio(each.ratio)) for each in api.cascades)
        lines.append((f"  {api.offer.ref}", *(cell for pair in pairs for cell in pair)))
    yield from align(lines)
    yield ""


def _share(share: Interval) -> str:
    return f"{format_share(share.value)} {bounds_text(share, format_share)}".strip()


def _heads(row: Served, comparison: Comparison) -> tuple[str, ...]:
    said = "drift not measured" if row.drift == "not measured" else row.drift
    kind = "" if row.is_baseline else f" ({said})"
    cached = f", {format_share(row.billed.cached_share)} cached" if row.billed.cached_share else ""
    of_its_own = () if comparison.same_requests else (f"API for {_requests(row.billed)}{cached}",)
    return *of_its_own, f"{row.title}{kind} ÷ API", "pays from"


def _offer_rows(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield a line for each API, grouped by whether it sells the same weights."""
    columns = 2 if comparison.same_requests else 3
    blank = ("",) * (2 + columns * len(comparison.chosen))
    titles = {True: "the same weights", False: "other models"}
    if not any(api.same_weights for api in comparison.apis):
        yield (none_of_the_same(comparison.weights), *blank)
    for same, title in titles.items():
        offers = [api for api in comparison.apis if api.same_weights == same]
        if offers:
            yield (title, *blank)
        yield from (_offer_row(api, comparison) for api in offers)


def _offer_row(api: AgainstApi, comparison: Comparison) -> tuple[str, ...]:
    batch = "-" if api.offer.batch_usd is None else format_significant(1e6 * api.offer.batch_usd)
    cells = (cell for pair in api.pairs for cell in _cells(pair, comparison))
    return (f"  {api.offer.ref}", format_significant(1e6 * api.offer.request_usd), batch, *cells)


def _cells(pair: Pair, comparison: Comparison) -> tuple[str, ...]:
    of_its_own = () if comparison.same_requests else (format_significant(1e6 * pair.api_usd),)
    return *of_its_own, _ratio(pair.ratio), _pays_from(pair)


def _ratio(ratio: Interval | None) -> str:
    if ratio is None:
        return FREE
    bounds = bounds_text(ratio, format_significant)
    return f"{format_significant(ratio.value)} {bounds}".strip()


def _pays_from(pair: Pair) -> str:
    """Say from which utilisation and volume the machine is cheaper than the API."""
    share, volume = pair.even.utilisation.value, pair.even.requests_per_month
    if volume is None:
        if pair.ratio is None:
            return NEVER
        return f"{NEVER} (at 100 %: {format_significant(pair.even.at_full)} × the API)"
    low, high = pair.even.utilisation.low, pair.even.utilisation.high
    bounds = "" if low is None or high is None else f" [{_percent(low)}, {_percent(high)}]"
    return f"{_percent(share)}%{bounds}, {count_words(volume)} a month"


def _percent(share: float) -> str:
    """Write a share in per cent; below 10 % with two digits, so that a small one is not 0."""
    return f"{100 * share:.0f}" if share >= 0.1 else format_significant(100 * share, 2)


def count_words(number: float) -> str:
    """Return a large number in words, such as ``1.2 million``, by its three shown digits."""
    number = float(f"{number:.3g}")
    for size, word in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if number >= size:
            return f"{format_significant(number / size)} {word}"
    return format_significant(number)


def against_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as data for JSON; infinite numbers become null, and days become text."""
    whole: dict[str, Any] = _finite(asdict(comparison) | {"formulas": _FORMULAS, "sold": comparison.sold})
    return whole


_FORMULAS = {
    "own_request": break_even.FORMULA_OWN_REQUEST,
    "api_request": apis.FORMULA_API,
    "cascade_request": FORMULA_EDGE_FIRST,
    "utilisation": break_even.FORMULA_UTILISATION,
    "volume": break_even.FORMULA_VOLUME,
}


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, dt.date):
        return str(data)
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _per_million(usd: Interval) -> str:
    scaled = Interval(
        1e6 * usd.value, *(None if bound is None else 1e6 * bound for bound in (usd.low, usd.high))
    )
    return f"{format_significant(scaled.value)} {bounds_text(scaled, format_significant)}".strip()


def _tokens_usd(row: Served) -> str:
    return format_significant(1e6 * row.request_usd.value / (row.mix.input_tokens + row.mix.output_tokens))


def _requests(mix: TokenMix) -> str:
    return f"{_tokens(mix.input_tokens)} + {_tokens(mix.output_tokens)}"


def _tokens(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
