"""Words of plans and prices: numbers at the borders of units, shares of machines, break-even points."""

from __future__ import annotations

import datetime as dt
import math
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli import api_pages, cache_pages, plan_pages
from bench.cli.api_pages import count_words
from bench.plan.fleet import Slo
from bench.plan.prompt_cache import CachedRow, Without
from bench.pricing.apis import TokenMix
from bench.stats.intervals import Interval


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (12, "12.0"),
        (999, "999"),
        (999.4, "999"),
        (999.6, "1.00 thousand"),
        (1000, "1.00 thousand"),
        (999_499, "999 thousand"),
        (999_600, "1.00 million"),  # it was 1,000 thousand
        (1_234_567, "1.23 million"),
        (999_600_000, "1.00 billion"),
        (5e12, "5,000 billion"),
        (0, "0"),
    ],
)
def test_a_large_number_in_words(number: float, words: str) -> None:
    assert count_words(number) == words


@pytest.mark.parametrize(("number", "words"), [(9.94, "9.9"), (10, "10"), (1234.5, "1,234"), (0.04, "0.0")])
def test_tokens_of_a_mean_request_in_words(number: float, words: str) -> None:
    assert api_pages._tokens(number) == words
    assert api_pages._requests(TokenMix(20, 2.5)) == "20 + 2.5"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(None, "free"), (Interval(0.5, None, None), "0.500"), (Interval(0.5, 0.4, 0.6), "0.500 [0.400, 0.600]")],
)
def test_a_ratio_to_an_api(ratio: Interval | None, words: str) -> None:
    assert api_pages._ratio(ratio) == words


def pair(volume: float | None, ratio: Interval | None, low: float | None = None) -> Any:
    share = Interval(0.25, low, 0.3 if low else None)
    even = SimpleNamespace(utilisation=share, requests_per_month=volume, at_full=1.5)
    return SimpleNamespace(even=even, ratio=ratio)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (pair(2e6, Interval(0.5, None, None)), "25%, 2.00 million a month"),
        (pair(2e6, Interval(0.5, None, None), 0.2), "25% [20, 30], 2.00 million a month"),
        (pair(None, Interval(1.5, None, None)), "never (at 100 %: 1.50 × the API)"),
        (pair(None, None), "never"),
    ],
)
def test_from_when_a_machine_pays(found: Any, words: str) -> None:
    assert api_pages._pays_from(found) == words


def test_data_for_json_has_no_number_that_json_lacks() -> None:
    data = {"a": [1.5, math.inf, (math.nan, -math.inf)], "day": dt.date(2026, 11, 28), "n": None}
    assert api_pages._finite(data) == {"a": [1.5, None, [None, None]], "day": "2026-11-28", "n": None}


def test_dollars_of_a_million_requests() -> None:
    assert api_pages._per_million(Interval(2e-6, 1e-6, 3e-6)) == "2.00 [1.00, 3.00]"
    assert api_pages._per_million(Interval(2e-6, None, 3e-6)) == "2.00"


@pytest.mark.parametrize(
    ("hardware", "share", "words"),
    [
        ("L4", 1.0, "L4"),
        ("", 1.0, "1 machine"),
        ("", 2.0, "2 machines"),
        ("", 1.5, "1.5 machines"),
        ("", 0.5, "1/2 machine"),
        ("", 1 / 3, "1/3 machine"),
        ("", 0.3, "1/3 machine"),
        ("", 0.51, "1 machine"),  # a second one has no room
    ],
)
def test_what_one_server_is(hardware: str, share: float, words: str) -> None:
    option: Any = SimpleNamespace(hardware=hardware, share=share)
    assert plan_pages._server_words(option) == words


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        (Slo(), "no limit of time (--slo)"),
        (Slo(500, None, 0.9), "a good request: TTFT at most 500 ms; 0.9 of all must be good"),
        (
            Slo(500, 50.5),
            "a good request: TTFT at most 500 ms and TPOT at most 50.5 ms; 0.99 of all must be good",
        ),
    ],
)
def test_what_a_good_request_is(slo: Slo, words: str) -> None:
    assert plan_pages._good_words(slo) == words


@pytest.mark.parametrize(("share", "words"), [(0.0, "0%"), (0.0004, "<1%"), (0.006, "1%"), (0.42, "42%")])
def test_a_load_that_rounds_to_nothing_is_not_nothing(share: float, words: str) -> None:
    assert plan_pages._load(share) == words


def test_a_row_with_a_cache_beside_one_without() -> None:
    usd = Interval(3e-6, None, None)
    row = CachedRow("with", 0.25, 50.0, 200.0, usd, None)
    assert cache_pages._of_row(row) == ("  with", "25.0%", "50 of 200 tokens", "3.00", "not measured", "-")
    without = Without("fresh", Interval(4e-6, None, None), Interval(0.75, 0.7, 0.8))
    assert cache_pages._of_row(CachedRow("with", 0.25, 50.0, 200.0, usd, without))[4:] == (
        "4.00 (fresh)", "0.750 [0.700, 0.800]"
    )  # fmt: skip


@pytest.mark.parametrize(("ratio", "tokens"), [(1.0, "50 of 200 tokens"), (1.5, "75 of 300 tokens")])
def test_an_api_with_another_tokenizer(ratio: float, tokens: str) -> None:
    row = SimpleNamespace(billed=TokenMix(200, 10, 0.25))
    found: Any = SimpleNamespace(row=row, api_usd=3e-6, uncached_usd=4e-6)
    assert cache_pages._of_pair("api", found, ratio) == ("api", "25.0%", tokens, "3.00", "4.00", "0.750")


def api(ref: str, *, caches: bool, writes: bool) -> Any:
    return SimpleNamespace(offer=SimpleNamespace(ref=ref, caches=caches, writes=writes))


@pytest.mark.parametrize("measured", [True, False])
def test_notes_of_a_cache_name_the_apis_and_what_was_not_measured(measured: bool) -> None:
    usd = Interval(3e-6, None, None)
    beside = Without("fresh", usd, usd)
    rows = [
        CachedRow("a", 0.25, 50, 200, usd, beside),
        CachedRow("b", 0.25, 50, 200, usd, beside if measured else None),
    ]
    chosen = [SimpleNamespace(billed=mix) for mix in (TokenMix(200, 10, 0.25), TokenMix(200, 10))]
    comparison: Any = SimpleNamespace(caches=rows, chosen=chosen)
    apis = [api("plain", caches=False, writes=False), api("writes", caches=True, writes=True)]
    plain, written, *more = cache_pages._notes(comparison, apis)
    assert plain == "cache          no own price for cached input: plain"
    assert written.startswith("written        75.0% of the input at the price of a cache write: writes (")
    assert len(more) == (0 if measured else 1)
    assert list(cache_pages._notes(SimpleNamespace(caches=(), chosen=()), apis[1:1])) == []  # type: ignore[arg-type]


def test_rows_without_apis_and_nothing_at_all() -> None:
    usd = Interval(3e-6, None, None)
    comparison: Any = SimpleNamespace(
        caches=[CachedRow("a", 0.25, 50, 200, usd, None)], apis=[], chosen=[], token_ratio=1.0
    )
    title, heads, row, *_notes = cache_pages.cache_lines(comparison)
    assert title.startswith("With a prompt cache")
    assert heads.split() == " ".join(cache_pages.HEADS).split()
    assert row.split()[0] == "a"
    comparison.caches = []
    assert list(cache_pages.cache_lines(comparison)) == []
