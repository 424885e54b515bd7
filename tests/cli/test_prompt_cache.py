"""A prompt cache as a run of servers shows it and as APIs bill it: pages and data, by hand arithmetic.

Every request has ten tokens in and four out. One server keeps nothing, the other found eight of the ten.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from commands import Bench
from rich_runs import Records, served, write

from bench.errors import ExitCode, UsageError
from bench.plan.api_comparison import Question, against_apis
from bench.results.run_summary import RunSummary
from bench.results.summary import load_run

DAY = date(2026, 11, 27)
N_IN, FOUND, N_OUT = 10, 8, 4
GPT, SONNET = "openai/gpt-5", "anthropic/claude-sonnet-4-5"
# Dollars a million tokens: of input, read from the cache, written to it, of output (genai-prices).
PRICES = {GPT: (1.25, 0.125, 1.25, 10.0), SONNET: (3.0, 0.3, 3.75, 15.0)}
Change = Callable[[dict[str, Any], bool], object]


def changed(change: Change) -> Records:
    """The run of two servers, in which ``change`` is made to each request and to each server; it is told
    whether that is the one with a cache."""

    def walk(value: Any, cached: bool) -> Any:
        if isinstance(value, dict):
            found = {
                key: walk(one, {"baseline": False, "variant": True}.get(key, cached))
                for key, one in value.items()
            }
            if "n_cached" in found or "target" in found:
                change(found, cached)
            return found
        return [walk(one, cached) for one in value] if isinstance(value, list | tuple) else value

    return [(kind, walk(payload, payload.get("name") == "fast")) for kind, payload in served()]


def one_keeps(found: dict[str, Any], cached: bool) -> None:
    if "target" in found:
        found["settings"] = {"prefix_caching": cached}
    else:
        found["n_cached"] = FOUND if cached else 0


def both_keep(found: dict[str, Any], cached: bool) -> None:
    one_keeps(found, True)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("cache") / "run", changed(one_keeps))


@pytest.fixture(scope="module")
def run(directory: Path) -> RunSummary:
    return load_run(directory)


def test_what_a_server_found_and_what_the_row_without_a_cache_costs(run: RunSummary) -> None:
    found = against_apis(run, [], Question(DAY, (GPT,)))
    base, fast = found.rows
    (row,) = found.caches
    assert (row.title, row.hit_rate, row.tokens, row.input_tokens) == ("fast", 0.8, FOUND, N_IN)
    assert row.without is not None
    assert row.without.title == "baseline"
    assert row.without.request_usd == base.request_usd
    assert row.request_usd == fast.request_usd
    ratio = run.comparison(run.rows[1], "cost_per_request_usd")
    assert ratio is not None
    assert (row.without.ratio.value, row.without.ratio.low) == (ratio.ratio, ratio.ci_low)


@pytest.mark.parametrize(
    ("asked", "cached", "written"),
    [
        ({}, 0.8, 0.2),
        ({"cached_share": 0.5}, 0.5, 0.5),
        ({"written_share": 0.1}, 0.8, 0.1),
        ({"cached_share": 0.0}, 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("api", [GPT, SONNET])
def test_an_api_bills_what_is_read_and_written(
    run: RunSummary, api: str, asked: dict[str, float], cached: float, written: float
) -> None:
    """What is neither is billed as other input; the list has no price of its own for what GPT-5 writes."""
    found = against_apis(run, [], Question(DAY, (api,), ("fast",), **asked))  # type: ignore[arg-type]
    (pair,) = found.apis[0].pairs
    usd_in, usd_read, usd_written, usd_out = PRICES[api]
    usd = N_IN * ((1 - cached - written) * usd_in + cached * usd_read + written * usd_written)
    assert pair.api_usd == pytest.approx((usd + N_OUT * usd_out) / 1e6)
    assert pair.uncached_usd == pytest.approx((N_IN * usd_in + N_OUT * usd_out) / 1e6)
    assert pair.ratio.value == pytest.approx(pair.row.request_usd.value / pair.api_usd)
    assert found.apis[0].offer.writes == (api == SONNET)


def test_each_row_is_billed_for_its_own_cache(run: RunSummary) -> None:
    found = against_apis(run, [], Question(DAY, (GPT,), ("baseline", "fast")))
    without, with_it = found.apis[0].pairs
    assert without.api_usd == without.uncached_usd == with_it.uncached_usd > with_it.api_usd
    assert not found.same_requests


def test_without_a_row_that_keeps_nothing_the_saving_is_not_known(tmp_path: Path) -> None:
    run = load_run(write(tmp_path / "run", changed(both_keep)))
    found = against_apis(run, [], Question(DAY, (GPT,)))
    assert [row.title for row in found.caches] == ["baseline", "fast"]
    assert [row.without for row in found.caches] == [None, None]
    other = replace(run, rows=(run.rows[0], replace(run.rows[1], workload={"name": "chat"})))
    assert against_apis(other, [], Question(DAY, (GPT,))).caches[1].without is None


def test_a_server_that_found_more_than_it_was_asked_is_not_believed(tmp_path: Path) -> None:
    def boast(found: dict[str, Any], cached: bool) -> None:
        found.update({"n_cached": N_IN + 1} if "n_cached" in found else {})

    found = against_apis(load_run(write(tmp_path / "run", changed(boast))), [], Question(DAY, (GPT,)))
    assert found.caches == ()
    assert {row.billed.cached_share for row in found.rows} == {0}


def test_more_cannot_be_written_than_is_not_read(run: RunSummary) -> None:
    with pytest.raises(UsageError, match=r"written share must be from 0 .*\(0\.2\), got 0\.3"):
        against_apis(run, [], Question(DAY, (GPT,), ("fast",), written_share=0.3))


def test_rows_with_the_same_requests_have_one_line_at_an_api(bench: Bench, directory: Path) -> None:
    asked = (
        "price",
        directory,
        "--against",
        "api",
        "--api",
        GPT,
        "--variant",
        "fast",
        "--variant",
        "baseline",
    )
    same, own = (bench(*asked, *more).stdout for more in (("--cached", "0.5"), ()))
    assert [line.split()[:2] for line in same.splitlines() if "5 of 10 tokens" in line] == [[GPT, "50.0%"]]
    assert "API for 10 + 4.0, 80.0% cached" in own
    assert "API for" not in same
    assert [line.split()[:2] for line in own.splitlines() if "8 of 10 tokens" in line] == [
        ["fast", "80.0%"],
        [GPT, "80.0%"],
    ]


@pytest.mark.parametrize(("more", "usd", "said"), [((), 43.5, True), (("--cached", "0"), 52.5, False)])
def test_a_plan_bills_what_the_runs_server_found(
    bench: Bench, directory: Path, more: tuple[str, ...], usd: float, said: bool
) -> None:
    asked = ("plan", directory, "--requests-per-day", "1000", "--api", GPT, *more)
    (api,) = json.loads(bench(*asked, "--json").stdout)["other_models"]
    assert 1e6 * api["request_usd"] == pytest.approx(usd)
    note = "80.0% of the input is read from the API's cache, as much as a server of the run found in its own"
    assert (note in bench(*asked).stdout) == said


def test_the_page_and_the_row_explained(bench: Bench, directory: Path) -> None:
    """A million requests: 8 · 0.125 + 2 · 1.25 + 4 · 10 = 43.5 and 8 · 0.3 + 2 · 3.75 + 4 · 15 = 69.9.

    The cheapest API that is shown beside a row has a 25th of the first one's prices.
    """
    page = bench("price", directory, "--against", "api", "--api", GPT, "--api", SONNET, "--variant", "fast")
    assert page.returncode == ExitCode.OK
    lines = [line.split() for line in page.stdout.splitlines()]
    assert ["fast", "80.0%", "8", "of", "10", "tokens"] in [line[:6] for line in lines]
    for api, usd, plain, ratio in ((GPT, "43.5", "52.5", "0.829"), (SONNET, "69.9", "90.0", "0.777")):
        assert [api, "80.0%", "8", "of", "10", "tokens", usd, plain, ratio] in lines
    assert f"20.0% of the input at the price of a cache write: {SONNET} (--written" in page.stdout
    row = bench("explain", directory, "fast").stdout
    assert "prefix_cache_share = 0.8000" in row
    assert "With a prompt cache, and the same requests without one" in row
    nano = [f"{GPT}-nano", "80.0%", "8", "of", "10", "tokens", "1.74", "2.10", "0.829"]
    assert nano in [line.split() for line in row.splitlines()]
    assert "With a prompt cache" not in bench("explain", directory, "baseline").stdout


def test_the_row_explained_as_data(bench: Bench, directory: Path) -> None:
    data = json.loads(bench("explain", directory, "fast", "--json").stdout)
    (row,) = data["prompt_cache"]["caches"]
    assert (row["hit_rate"], row["without"]["title"]) == (0.8, "baseline")
    (shown,) = (one for one in data["figures"] if one["key"] == "prefix_cache_share")
    above, below = map(int, shown["arithmetic"].split(" / "))
    assert above / below == 0.8
    assert json.loads(bench("explain", directory, "baseline", "--json").stdout)["prompt_cache"] is None


def test_the_options_go_with_the_question(bench: Bench, directory: Path) -> None:
    for option in ("--cached", "--written"):
        found = bench("price", directory, option, "0")
        assert found.returncode == ExitCode.USAGE
        assert "go with --against api" in found.stderr
