"""Print what a prompt cache saves: the same requests with and without it, on a run's rows and at APIs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.cli.tables import align
from bench.formatting import format_share, format_significant
from bench.plan.api_comparison import AgainstApi, Comparison, Pair
from bench.plan.prompt_cache import CachedRow
from bench.pricing.apis import TokenMix
from bench.report.row_sentence import bounds_text
from bench.stats.intervals import Interval

HEADS = ("", "hit rate", "not computed", "$/1M requests", "without a cache", "÷ without")
NOT_MEASURED = "not measured"


def cache_lines(comparison: Comparison, most: int | None = None) -> Iterator[str]:
    """Yield a table of the rows with a prompt cache and of APIs, then notes; nothing if nothing is cached.

    With ``most`` the table has at most this many APIs, and only those with a separate price for cached input.
    """
    apis = comparison.apis if most is None else [api for api in comparison.apis if api.offer.caches][:most]
    rows = [_of_row(row) for row in comparison.caches]
    offers = [line for api in apis for line in _of_api(api, comparison)]
    if not rows and not offers:
        return
    yield "With a prompt cache, and the same requests without one"
    yield from align([HEADS, *rows, *offers])
    yield from _notes(comparison, apis)
    yield ""


def _of_row(row: CachedRow) -> tuple[str, ...]:
    cached = _million(row.request_usd)
    if row.without is None:
        without, ratio = NOT_MEASURED, "-"
    else:
        without, ratio = (
            f"{_million(row.without.request_usd)} ({row.without.title})",
            _ratio(row.without.ratio),
        )
    tokens = f"{row.tokens:,.0f} of {row.input_tokens:,.0f} tokens"
    return f"  {row.title}", format_share(row.hit_rate), tokens, cached, without, ratio


def _of_api(api: AgainstApi, comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield a line of one API for each different mean request of the chosen rows that is partly cached."""
    kinds = {pair.row.billed: pair for pair in reversed(api.pairs) if pair.row.billed.cached_share}
    pairs = list(reversed(kinds.values()))
    for pair in pairs:
        of_row = f", requests of {pair.row.title}" if len(pairs) > 1 else ""
        ratio = 1.0 if api.same_weights else comparison.token_ratio
        yield _of_pair(f"  {api.offer.ref}{of_row}", pair, ratio)


def _of_pair(title: str, pair: Pair, token_ratio: float) -> tuple[str, ...]:
    mix = pair.row.billed
    n_in = mix.input_tokens * token_ratio
    return (
        title,
        format_share(mix.cached_share),
        f"{mix.cached_share * n_in:,.0f} of {n_in:,.0f} tokens",
        format_significant(1e6 * pair.api_usd),
        format_significant(1e6 * pair.uncached_usd),
        format_significant(pair.api_usd / pair.uncached_usd),
    )


def _notes(comparison: Comparison, apis: Sequence[AgainstApi]) -> Iterator[str]:
    """Yield the notes: what is assumed, and which APIs have no separate price for cached input."""
    offers = [api.offer for api in apis]
    if plain := [offer.ref for offer in offers if not offer.caches]:
        yield f"cache          no own price for cached input: {', '.join(plain)}"
    if writes := [offer.ref for offer in offers if offer.writes]:
        shares = sorted({format_share(mix.written) for mix in _cached_mixes(comparison)})
        yield (
            f"written        {', '.join(shares)} of the input at the price of a cache write: "
            f"{', '.join(writes)} (--written changes it)"
        )
    if any(row.without is None for row in comparison.caches):
        yield (
            f"{NOT_MEASURED}   no row of the run answers the same requests without a cache: add one whose "
            "server has prefix caching switched off"
        )


def _cached_mixes(comparison: Comparison) -> Iterator[TokenMix]:
    yield from (row.billed for row in comparison.chosen if row.billed.cached_share)


def _million(usd: Interval) -> str:
    return format_significant(1e6 * usd.value)


def _ratio(ratio: Interval) -> str:
    return f"{format_significant(ratio.value)} {bounds_text(ratio, format_significant)}".strip()
