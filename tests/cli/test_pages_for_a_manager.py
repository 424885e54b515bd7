"""What somebody who decides by a page of dollars must not overlook: each was missing or misled a reader."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from commands import Bench

from bench.cli.api_pages import against_page
from bench.cli.plan_words import bounds
from bench.errors import Outcome
from bench.plan.api_comparison import Question, against_apis
from bench.plan.measured import not_planned
from bench.results.summary import load_run

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
MODELS, SERVING, CASCADE = (str(REFERENCE / place) for place in ("models", "serving", "edge-cloud/cascade"))


@pytest.mark.parametrize(
    "asked",
    [
        ("price", MODELS, "--against", "api", "--api", "openai/gpt-5"),
        ("plan", MODELS, "--requests-per-day", "1e6", "--api", "openai/gpt-5"),
    ],
    ids=["price", "plan"],
)
def test_a_small_model_with_the_name_of_a_large_one_is_told(bench: Bench, asked: tuple[str, ...]) -> None:
    """Rows of the shapes of Kimi K2 and DeepSeek R1 have four layers of random weights, and cost a dollar."""
    page = bench(*asked).stdout
    (line,) = [line for line in page.splitlines() if line.strip().startswith("kimi-k2 ")]
    assert line.endswith("random weights (4 layers, hidden 256, 16 experts)")
    (baseline,) = [line for line in page.splitlines() if re.match(r" *baseline  ", line)]
    assert baseline.endswith("the baseline")


def test_its_sentence_says_so_too(bench: Bench) -> None:
    page = bench("explain", MODELS, "kimi-k2").stdout
    assert "× cheaper; random weights (4 layers, hidden 256, 16 experts);" in page.splitlines()[0]
    assert "random weights" not in bench("explain", MODELS, "smollm2-int8").stdout


def test_nobody_sells_random_weights() -> None:
    from bench.cli.price_command import names_of_weights  # commands are registered in the order of imports

    run = load_run(REFERENCE / "models")
    assert names_of_weights(run)
    shape = {**(run.model or {}), "name": "deepseek-r1", "kind": "random", "random": True}
    random = replace(run, model=shape)
    assert names_of_weights(random) == []
    page = against_page(random, against_apis(random, [], Question(date(2026, 11, 1), ("openai/gpt-5",))))
    assert "the same weights: not known who sells them" in page


def test_a_load_that_left_the_server_waiting_is_told(bench: Bench) -> None:
    asked = ("--against", "api", "--api", "openai/gpt-5")
    assert "open loads     the requests" in bench("price", SERVING, *asked).stdout
    assert "open loads" not in bench("price", str(REFERENCE / "serving/users"), *asked).stdout


@pytest.mark.parametrize(
    ("run", "variant", "why"),
    [
        (SERVING, "closed-loop users=2 vllm", "a server reads prompts and writes tokens in the same passes"),
        (CASCADE, "cascade", "a cascade is paid in two places"),
    ],
)
def test_why_dollars_have_no_parts(bench: Bench, run: str, variant: str, why: str) -> None:
    page = bench("explain", run, variant).stdout
    assert f"no way from the baseline's dollars to these: {why}" in page
    assert "no way" not in bench("explain", CASCADE, "edge-only").stdout


def test_which_dollars_are_beside_each_other(bench: Bench) -> None:
    asked = ("price", str(REFERENCE))
    last = bench(*asked, "--utilisation", "0.5").stdout.splitlines()[-1]
    assert last.endswith("now: at the price of each run, used 0.5 of the time")
    last = bench(*asked, "--hardware", "cloud-4vcpu-16gb").stdout.splitlines()[-1]
    assert last.endswith("now: at cloud-4vcpu-16gb, used as much of the time as each run says")
    assert "now: at 0.2 USD an hour" in bench(*asked, "--usd-per-hour", "0.2").stdout.splitlines()[-1]


def test_the_cheapest_option_says_what_its_answers_are_worth(bench: Bench) -> None:
    quickstart = str(REFERENCE / "quickstart")
    page = bench("plan", quickstart, "--requests-per-day", "1e6", "--api", "openai/gpt-5").stdout
    assert "the first server of int8-dynamic, the cheapest option, paid all month" in page
    assert "costs less; its answers: a different model" in page
    data = json.loads(bench("plan", quickstart, "--requests-per-day", "1e6", "--json").stdout)
    assert min(data["options"], key=lambda option: option["month_usd"])["title"] == "int8-dynamic"


def test_late_answers_are_told(bench: Bench) -> None:
    """Of 24 requests 4 were in time, and the page priced all of them beside an API without a word."""
    page = bench("price", SERVING, "--against", "api", "--api", "openai/gpt-5").stdout
    assert "good requests  the dollars are of all requests" in page
    assert "closed-loop users=2 transformers 16.6%, open-loop rate=0.4 transformers 50.0%" in page
    assert "good requests" not in bench("price", MODELS, "--against", "api", "--api", "openai/gpt-5").stdout


def test_rows_that_failed_are_told() -> None:
    """They were missing, and so was any word that a run was not finished."""
    run = load_run(REFERENCE / "quickstart")
    rows = [replace(row, status=Outcome.OOM_HOST) if row.name == "bf16" else row for row in run.rows]
    found = replace(run, rows=tuple(rows), finished_utc=None)
    (said,) = not_planned(found)
    assert (
        said == "without figures: bf16 is oom_host, the run was not finished, so further rows may be missing"
    )
    asked = Question(date(2026, 11, 1), ("openai/gpt-5",))
    assert f"left out       {said}" in against_page(found, against_apis(found, [], asked))
    assert not_planned(run) == []


def test_bounds_that_look_like_their_value_are_not_written() -> None:
    assert bounds(11.08, (11.07, 11.12)) == ""
    assert bounds(11.08, (11.0, 11.12)) == " [11.0, 11.1]"
    assert bounds(11.08, (11.08, None)) == " [11.1, never]"


def test_an_instance_of_eight_is_told_where_one_gpu_is_priced(bench: Bench) -> None:
    asked = ("--input-tokens", "10", "--output-tokens", "10", "--requests-per-day", "1", "--precision", "8")
    page = bench("plan", "--model", "qwen3-8b", "--hardware", "aws-p5-48xlarge", *asked).stdout
    assert "rented whole, for 55.04 USD an hour: round machines up to 8" in page
    page = bench(
        "plan", "--model", "qwen3-8b", "--hardware", "h100-80gb", "--reserved", "gcp-a3-highgpu-8g-3y", *asked
    ).stdout
    assert "gcp-a3-highgpu-8g-3y is of one of 8 GPUs" in page
    listed = bench("prices", "--device", "h100").stdout
    assert "H100 80GB SXM, of 8" in listed
    assert "rented whole" in listed
