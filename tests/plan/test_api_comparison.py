"""Rows of other lengths beside APIs: each is billed for the tokens of its own baseline, or its own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from bench.cli.api_pages import against_json, against_page
from bench.metrics import throughput
from bench.plan import offers
from bench.plan.api_comparison import Question, against_apis
from bench.plan.edge_first import EdgeFirst, at_api
from bench.plan.picture import picture
from bench.plan.served import served_rows
from bench.pricing.apis import ApiOffer, TokenMix
from bench.results.row import Row
from bench.results.run_summary import RunSummary
from bench.results.summary import load_run
from bench.stats.intervals import Interval

QUICKSTART = Path(__file__).resolve().parents[2] / "results" / "reference" / "quickstart-no-bf16"
DAY = date(2026, 11, 1)
NANO = "openai/gpt-5-nano"
SHORT, LONG = (48, 16), (96, 32)


def slower(row: Row, factor: float) -> Row:
    """The same row with fewer requests a second: each has more tokens, as the tokens a second stay."""
    requests = row.figure(throughput.REQUESTS)
    assert requests is not None
    fewer = replace(requests, value=requests.value / factor, ci_low=None, ci_high=None)
    return replace(row, metrics={**row.metrics, throughput.REQUESTS.key: fewer})


def longer(row: Row) -> Row:
    """The same row in another cell, with requests twice as long."""
    workload = {**row.workload, "input_tokens": LONG[0], "output_tokens": LONG[1]}
    return replace(slower(row, 2), group="long", workload=workload)


@pytest.fixture(scope="module")
def sweep() -> RunSummary:
    """A run with two cells, of which one has requests twice as long."""
    found = load_run(QUICKSTART)
    return replace(found, rows=(*found.rows, *map(longer, found.rows)))


def billed(run: RunSummary, title: str) -> tuple[float, float]:
    (row,) = (row for row in served_rows(run) if row.title == title)
    return round(row.billed.input_tokens), round(row.billed.output_tokens)


def test_each_row_is_billed_for_requests_of_its_own_length(sweep: RunSummary) -> None:
    """All were billed for those of the first baseline. GPT-5 nano: 0.05 dollars a million in, 0.4 out."""
    titles = [row.title for row in sweep.rows if row.name == "int8-dynamic"]
    found = against_apis(sweep, [], Question(DAY, (NANO,), tuple(titles)))
    (api,) = found.apis
    for pair, (n_in, n_out) in zip(api.pairs, (SHORT, LONG), strict=True):
        assert pair.api_usd == pytest.approx(n_in * 0.05e-6 + n_out * 0.4e-6)
        assert pair.ratio.value == pytest.approx(pair.row.request_usd.value / pair.api_usd)
        share = pair.even.utilisation.value
        assert pair.row.own.request_usd(1.0).value / share == pytest.approx(pair.api_usd)
    page = against_page(sweep, found)
    for words in ("48 tokens in and 16 out a request; rows of other requests", "API for 96 + 32"):
        assert words in page
    usd = [pair["api_usd"] for pair in against_json(found)["apis"][0]["pairs"]]
    assert usd[1] == pytest.approx(2 * usd[0])
    names = [line.name for line in picture("", found).lines if not line.own]
    assert names == [f"{NANO}, 48 + 16 tokens", f"{NANO}, 96 + 32 tokens"]


def test_a_variant_with_shorter_answers_is_billed_for_those_of_its_baseline(sweep: RunSummary) -> None:
    """An API answers with a model that was not changed. A row with requests of its own is billed for them."""
    base, *_others, last = sweep.rows[: len(sweep.rows) // 2]
    fast = replace(slower(last, 2), name="fast")
    apart = replace(fast, name="apart", workload=longer(last).workload)
    run = replace(sweep, rows=(base, fast, apart))
    assert billed(run, "fast") == billed(run, base.title) == SHORT
    assert billed(run, "apart") == LONG


def test_requests_of_one_length_need_no_further_column(sweep: RunSummary) -> None:
    first = replace(sweep, rows=sweep.rows[: len(sweep.rows) // 2])
    found = against_apis(first, [], Question(DAY, (NANO,)))
    assert found.same_requests
    assert "API for" not in against_page(first, found)
    assert {pair.api_usd for api in found.apis for pair in api.pairs} == {found.apis[0].offer.request_usd}


def test_rows_are_compared_with_the_baseline_of_their_own_length(sweep: RunSummary) -> None:
    """A row of short requests that takes half as long again is cheaper than the same row of long ones."""
    dear = replace(slower(sweep.rows[1], 1.5), name="dear")
    base, close = sweep.rows[0], sweep.rows[1]
    long_base, long_close = longer(base), replace(longer(close), name="close")
    run = replace(sweep, rows=(long_base, long_close, base, dear), comparisons=())
    titles = [row.title for row in against_apis(run, [], Question(DAY, (NANO,))).chosen]
    assert titles == [long_base.title, long_close.title]
    only = replace(sweep, rows=(long_base, base), comparisons=())
    assert [row.title for row in against_apis(only, [], Question(DAY, (NANO,))).chosen] == [
        long_base.title, base.title,
    ]  # fmt: skip


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> str:
    """An API of the list that bills nothing."""
    ref = "openrouter/some/model:free"
    real = offers.offer

    def offer(asked: str, mix: TokenMix, day: date) -> ApiOffer:
        return (
            ApiOffer(ref, 0.0, 0.0, None, caches=False, writes=False, since=day)
            if asked == ref
            else real(asked, mix, day)
        )

    monkeypatch.setattr(offers, "offer", offer)
    return ref


@pytest.mark.parametrize("beside", [(), (NANO,)])
def test_an_api_that_is_free_has_no_ratio_and_no_break_even(
    sweep: RunSummary, free: str, beside: tuple[str, ...]
) -> None:
    """It was a division by zero, which was said to be the run's fault."""
    found = against_apis(sweep, [], Question(DAY, (free, *beside)))
    api = found.apis[0]
    assert api.offer.ref == free
    assert {(pair.api_usd, pair.ratio, pair.even.requests_per_month) for pair in api.pairs} == {
        (0.0, None, None)
    }
    page = against_page(sweep, found)
    assert f"free           {free}: at a price of 0 there is no ratio" in page
    assert "inf" not in page
    json.dumps(data := against_json(found), allow_nan=False)
    assert data["apis"][0]["pairs"][0]["ratio"] is None
    drawn = [line.name for line in picture("", found).lines if not line.own]
    assert {name.partition(",")[0] for name in drawn} == set(beside)


def test_a_cascade_before_an_api_that_is_free() -> None:
    part = Interval(0.25, 0.2, 0.3)
    found = at_api(EdgeFirst("c", Interval(2e-6, None, None), part, part, TokenMix(48, 16)), 0.0)
    assert (found.request_usd.value, found.ratio) == (2e-6, None)
