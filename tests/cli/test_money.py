"""`bench price --against api`, `bench plan` and `bench explain`: what they print and what they refuse."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import Bench
from journals import write_run

from bench.errors import ExitCode
from bench.plan import fleet
from bench.plan.token_costs import splits
from bench.results.explanation import bound_words
from bench.results.summary import load_run

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"
QUICKSTART = REFERENCE / "quickstart-no-bf16"
OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def computed(arithmetic: str) -> float:
    """Return what an expression of numbers, + - * / and brackets comes to."""

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.Constant):
            return float(node.value)
        assert isinstance(node, ast.BinOp), ast.dump(node)
        return OPERATORS[type(node.op)](value(node.left), value(node.right))

    return value(ast.parse(arithmetic, mode="eval").body)


# ---- price --against api -------------------------------------------------------------------------


def test_the_table_has_rows_apis_and_formulas(bench: Bench) -> None:
    found = bench("price", QUICKSTART, "--against", "api")
    assert found.returncode == ExitCode.OK
    assert found.stdout.startswith("quickstart: 48 tokens in and 16 out a request")
    for words in (
        "  baseline  ",
        "a different model",
        "openai/gpt-5  ",
        "pays from",
        "the same weights: not sold",
    ):
        assert words in found.stdout
    assert "genai-prices " in found.stdout


def test_the_figures_fit_together(bench: Bench) -> None:
    """The ratio is the quotient of both prices; at the utilisation shown both cost the same."""
    data = json.loads(bench("price", QUICKSTART, "--against", "api", "--json").stdout)
    rows = {row["title"]: row for row in data["rows"]}
    assert len(rows) == 6
    for api in data["apis"]:
        for pair in api["pairs"]:
            own = pair["row"]["own"]
            at_use = own["hour_usd"] / pair["row"]["utilisation"] * own["request_s"]["value"] / 3600
            assert pair["ratio"]["value"] == pytest.approx(at_use / api["offer"]["request_usd"])
            share = pair["even"]["utilisation"]["value"]
            at_even = own["hour_usd"] / share * own["request_s"]["value"] / 3600
            assert at_even == pytest.approx(api["offer"]["request_usd"])
            assert (pair["even"]["requests_per_month"] is None) == (share > 1)
    assert not data["sold"]


def test_one_row_one_api_and_a_cache(bench: Bench) -> None:
    more = ("--api", "openai/gpt-5", "--variant", "bf16", "--cached", "0.5", "--token-ratio", "0.5", "--json")
    data = json.loads(bench("price", QUICKSTART, "--against", "api", *more).stdout)
    (api,) = data["apis"]
    assert [pair["row"]["title"] for pair in api["pairs"]] == ["bf16"]
    assert api["offer"]["request_usd"] == pytest.approx(12 * 1.25e-6 + 12 * 0.125e-6 + 8 * 10e-6)


def test_another_price_at_the_same_time(bench: Bench) -> None:
    """At twice the dollars an hour every ratio doubles."""
    one, two = (
        json.loads(
            bench(
                "price", QUICKSTART, "--against", "api", "--usd-per-hour", usd, "--vcpus", "2", "--json"
            ).stdout
        )
        for usd in ("0.1", "0.2")
    )
    for a, b in zip(one["apis"], two["apis"], strict=True):
        assert b["pairs"][0]["ratio"]["value"] == pytest.approx(2 * a["pairs"][0]["ratio"]["value"])


def test_the_picture_crosses_where_it_pays(bench: Bench, tmp_path: Path) -> None:
    """Each line is named, and a circle stands where a row and an API cost the same."""
    file = tmp_path / "volumes.svg"
    found = bench("price", QUICKSTART, "--against", "api", "--picture", file)
    assert found.stderr == f"wrote {file}\n"
    drawn = ElementTree.parse(file)
    names = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"baseline", "int8-dynamic", "openai/gpt-5"} <= names
    data = json.loads(bench("price", QUICKSTART, "--against", "api", "--json").stdout)
    pays = {
        f"{pair['row']['title']} = {api['offer']['ref']}"
        for api in data["apis"]
        for pair in api["pairs"]
        if pair["even"]["requests_per_month"]
    }
    circles = list(drawn.iter("{http://www.w3.org/2000/svg}circle"))
    assert {circle[0].text for circle in circles} == pays


def test_a_picture_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    found = bench("price", QUICKSTART, "--against", "api", "--picture", tmp_path / "no" / "x.svg")
    assert found.returncode == ExitCode.USAGE
    assert "cannot write" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--api", "openai/gpt-5"], "go with --against api"),
        (["--against", "api", "--api", "openai/gpt5"], "did you mean 'openai/gpt-5'"),
        (["--against", "api", "--variant", "bf61"], "did you mean 'bf16'"),
        (["--against", "api", "--token-ratio", "5e-324"], "ratio of tokens must be from 0.01"),
        (["--against", "api", "--token-ratio", "1e308"], "ratio of tokens must be from 0.01"),
        (["--against", "api", "--picture", "x.png"], "call it x.svg"),
        (["--against", "api", "--utilisation", "1e-308"], "utilisation must be above 0"),
        (["--usd-per-hour", "1", "--vcpus", "100000"], "vcpus must be from 1 to 4096"),
        (["--against", "api", "--utilisation", "1.5"], "utilisation must be above 0 and at most 1"),
        (["--against", "api", "--hardware", "cloud-2vcpu"], "did you mean"),
        (["--against", "api", "--utilisation", "0"], "utilisation must be above 0 and at most 1"),
        (["--against", "api", "--utilisation", "nan"], "--utilisation: nan is not a finite"),
        (["--usd-per-hour", "-1"], "dollars per hour must be above 0"),
        (["--usd-per-hour", "0"], "dollars per hour must be above 0"),
        (["--usd-per-hour", "nan"], "--usd-per-hour: nan is not a finite"),
        (["--usd-per-hour", "1e9"], "is it per month"),
        (["--usd-per-hour", "1e-7"], "is it per second, or per 1k tokens"),
        (["--against", "api", "--api", "openai/whisper-1"], "has no price for text that it writes"),
        ([], "nothing to change"),
    ],
)
def test_what_a_comparison_with_apis_refuses(bench: Bench, arguments: list[str], words: str) -> None:
    found = bench("price", QUICKSTART, *arguments)
    assert found.returncode == ExitCode.USAGE
    assert words in found.stderr


OWN_PRICE = """
id: mine
name: My machine
kind: cpu
vcpus: 2
ownership: rented
date: 2026-11-01
source: my bill
currency: USD
includes_power: true
usd_per_hour: 0.1
"""


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("currency: USD\n", "", "currency"),
        ("currency: USD", "currency: EUR", "usd_per_unit"),
        ("currency: USD", "currency: dollars", "currency"),
        ("usd_per_hour: 0.1", "usd_per_hour: -0.1", "usd_per_hour"),
        ("usd_per_hour: 0.1", "usd_per_hour: 73", "is it per month"),
        ("date: 2026-11-01\n", "", "date"),
        ("source: my bill\n", "", "source"),
    ],
)
@pytest.mark.parametrize("command", ["price", "plan"])
def test_a_wrong_price_of_ones_own_names_its_file(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, line: str, instead: str,
    words: str,
) -> None:  # fmt: skip
    prices = tmp_path / "configs" / "prices"
    prices.mkdir(parents=True)
    (prices / "mine.yaml").write_text(OWN_PRICE.replace(line, instead))
    monkeypatch.chdir(tmp_path)
    asked = ["--requests-per-day", "1000"] if command == "plan" else []
    found = bench(command, QUICKSTART, "--hardware", "mine", *asked)
    assert found.returncode == ExitCode.USAGE
    assert "mine.yaml" in found.stderr
    assert words in found.stderr
    assert "Traceback" not in found.stderr


# ---- price --split -------------------------------------------------------------------------------


def test_a_sweep_is_split_into_tokens_in_and_out(bench: Bench, tmp_path: Path) -> None:
    """A planted price of each, in a run whose cells have other mixes."""
    run = load_run(QUICKSTART)
    base, cells = run.rows[0], []
    for n_in, n_out in ((100, 10), (50, 50), (10, 100)):
        usd = n_in * 1e-7 + n_out * 8e-7
        figures = {
            "request_throughput": 0.084 / 3600 / usd,
            "cost_per_request_usd": usd,
            "output_throughput": n_out * 0.084 / 3600 / usd,
            "total_token_throughput": (n_in + n_out) * 0.084 / 3600 / usd,
        }
        metrics = dict(base.metrics)
        for key, value in figures.items():
            figure = metrics[key]
            assert figure is not None
            metrics[key] = replace(figure, value=value)
        cells.append(replace(base, group=f"input_tokens={n_in}", metrics=metrics))
    sweep = replace(run, rows=tuple(cells), comparisons=())
    ((name, found),) = splits(sweep)
    assert name == "baseline"
    assert not isinstance(found, str)
    assert (found.input_usd, found.output_usd) == (pytest.approx(1e-7), pytest.approx(8e-7))


def test_a_run_without_a_sweep_has_no_split(bench: Bench) -> None:
    found = bench("price", QUICKSTART, "--split")
    assert found.returncode == ExitCode.USAGE
    assert "sweep over workload.input_tokens" in found.stderr
    assert bench("price", QUICKSTART, "--split", "--against", "api").returncode == ExitCode.USAGE


# ---- plan ----------------------------------------------------------------------------------------


def test_a_plan_of_the_quickstart(bench: Bench) -> None:
    found = bench("plan", QUICKSTART, "--requests-per-day", "1000000", "--slo", "ttft:2000,tpot:200")
    assert found.returncode == ExitCode.OK
    lines = found.stdout.splitlines()
    assert lines[1] == "1.00 million requests a day (11.6 a second, a flat day), 48 tokens in and 16 out"
    assert (
        lines[3] == "a good request: TTFT at most 2000 ms and TPOT at most 200 ms; 0.99 of all must be good"
    )
    assert "  openai/gpt-5  " in found.stdout
    assert "bound by" not in found.stdout  # nothing is known of that from a run
    assert "  1/2 machine  " in found.stdout


@pytest.mark.usefixtures("few_requests")
def test_a_plan_at_other_volumes(bench: Bench) -> None:
    """Each column is what a plan of that many requests says."""
    asked = ("plan", QUICKSTART, "--slo", "ttft:2000", "--json", "--requests-per-day")
    swept = json.loads(bench(*asked, "1000", "--volumes", "2e5,1e6").stdout)["options"]
    alone = json.loads(bench(*asked, "1e6").stdout)["options"]
    assert [one["at_volumes"][1]["month_usd"] for one in swept] == [one["month_usd"] for one in alone]
    assert [one["at_volumes"][1]["machines"] for one in swept] == [one["fleet"]["most"] for one in alone]
    page = bench("plan", QUICKSTART, "--requests-per-day", "1000", "--volumes", "2e5,1e6").stdout
    (heading,) = [line for line in page.splitlines() if line.startswith("machines, $/1M requests")]
    assert "200 thousand a day" in heading
    assert "1.00 million a day" in heading


def test_a_plan_as_data(bench: Bench) -> None:
    data = json.loads(bench("plan", QUICKSTART, "--requests-per-day", "1e6", "--json").stdout)
    assert data["prices"] == ["AWS EC2 m7i.large, 2 vCPU, 8 GiB, Linux, us-east-1, 2026-07-09"]
    for option in data["options"]:
        assert (option["machine_usd_per_hour"], option["reserved_usd_per_hour"]) == (0.1008, None)
        usd = option["fleet"]["most"] * 0.1008 * 730
        assert option["month_usd"] == pytest.approx(usd)
        assert option["request_usd"] == pytest.approx(usd / (1e6 * 730 / 24))


@pytest.fixture
def few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues of an eighth of the requests: enough where no figure of a queue is looked at."""
    monkeypatch.setattr(fleet, "SIMULATED", fleet.SIMULATED // 8)


@pytest.mark.usefixtures("few_requests")
def test_a_plan_of_a_card(bench: Bench) -> None:
    found = bench(
        "plan", "--model", "qwen3-30b-a3b", "--hardware", "h100-80gb", "--hardware", "h200-141gb",
        "--input-tokens", "1000", "--output-tokens", "300", "--requests-per-day", "1e6",
        "--slo", "ttft:500 tpot:50", "--peak", "1.5", "--reserved", "gcp-a3-highgpu-8g-3y",
    )  # fmt: skip
    assert found.returncode == ExitCode.OK
    for words in (
        "1 × h100-80gb",
        "1 × h200-141gb",
        "16 bits",
        "reserved",
        "estimated, not measured",
        "memory",
    ):
        assert words in found.stdout
    assert "openrouter/qwen/qwen3-30b-a3b" in found.stdout.split("other models")[0]
    assert (
        "reserved     nothing for 16 bits on h100-80gb: 4.86 USD an hour is not less than 3.99"
        in found.stdout
    )
    assert "reserved     nothing for 16 bits on h200-141gb: the reserved price is of another" in found.stdout
    assert "reserved: gcp a3-highgpu-8g" in found.stdout


@pytest.mark.usefixtures("few_requests")
def test_options_on_several_machines_have_their_own_names(bench: Bench) -> None:
    """Two were called "8 bits": nobody knew which of them missed a limit, and one was lost as data."""
    asked = (
        "plan", "--model", "qwen3-8b", "--hardware", "h100-80gb", "--hardware", "l4-24gb", "--hardware",
        "h100-80gb", "--input-tokens", "1000", "--output-tokens", "300", "--requests-per-day", "1e5",
        "--slo", "tpot:50", "--api", "openai/gpt-5",
    )  # fmt: skip
    data = json.loads(bench(*asked, "--json").stdout)
    titles = [option["title"] for option in data["options"]]
    assert len(titles) == len(set(titles)) == 6
    assert set(data["other_models"][0]["cheaper_from_per_day"]) == set(titles)
    page = bench(*asked).stdout
    assert "no good request: 16 bits on l4-24gb: even one" in page
    assert re.search(r"\d bits on \S+ is cheaper from", page)


def test_weights_that_are_sold_elsewhere_are_not_said_to_be_unsold(bench: Bench) -> None:
    """With ``--api`` only those APIs are looked up, and the page said that nobody sells the weights."""
    asked = (
        "plan", "--model", "deepseek-r1", "--hardware", "h200-141gb", "--precision", "8",
        "--input-tokens", "10", "--output-tokens", "10", "--requests-per-day", "1",
    )  # fmt: skip
    page = bench(*asked, "--api", "openai/gpt-5").stdout
    assert re.search(r"the same weights: sold by \d+ APIs that --api does not name", page)
    assert "not sold" not in page


def test_a_small_share_of_the_hours_is_not_0(bench: Bench) -> None:
    """Beside o1 a machine pays from 0.39 % of its hours; the page said 0%."""
    page = bench("price", QUICKSTART, "--against", "api", "--api", "openai/o1", "--variant", "bf16").stdout
    (line,) = [line for line in page.splitlines() if line.startswith("  openai/o1")]
    data = json.loads(
        bench(
            "price", QUICKSTART, "--against", "api", "--api", "openai/o1", "--variant", "bf16", "--json"
        ).stdout
    )
    share = data["apis"][0]["pairs"][0]["even"]["utilisation"]["value"]
    said = re.search(r"([\d.]+)% \[([\d.]+), ([\d.]+)\]", line)
    assert said is not None
    assert float(said[1]) == pytest.approx(100 * share, rel=0.05)
    assert 0 < float(said[2]) < float(said[1]) < float(said[3])


def test_what_is_written_to_a_cache_is_said(bench: Bench) -> None:
    asked = ("price", QUICKSTART, "--against", "api", "--api", "anthropic/claude-sonnet-4-5")
    assert "50.0% written to one" in bench(*asked, "--written", "0.5").stdout.splitlines()[0]
    assert "written" not in bench(*asked).stdout.splitlines()[0]


def test_power_of_an_own_machine_is_in_the_legend(bench: Bench) -> None:
    """Idle watts are paid in every hour (H), the watts that work adds only in hours of work (B)."""
    asked = ("price", QUICKSTART, "--against", "api", "--api", "openai/gpt-5", "--utilisation", "0.3")
    owned = (*asked, "--hardware", "own-2core-desktop")
    assert "H dollars an hour of the share of a machine and of its idle power" in bench(*owned).stdout
    assert "idle power" not in bench(*asked).stdout
    row = json.loads(bench(*owned, "--json").stdout)["rows"][0]["own"]
    kwh, half = 0.1872, 0.5
    assert row["hour_usd"] == pytest.approx(half * (400 / 35040 + 0.020 * kwh))
    assert row["busy_hour_usd"] == pytest.approx(half * 0.025 * kwh)


def test_nobody_meets_the_limit(bench: Bench) -> None:
    found = bench("plan", QUICKSTART, "--requests-per-day", "10", "--slo", "tpot:1")
    assert found.returncode == ExitCode.OK
    assert "no good request: baseline, bf16" in found.stdout
    data = json.loads(
        bench("plan", QUICKSTART, "--requests-per-day", "10", "--slo", "tpot:1", "--json").stdout
    )
    assert {option["month_usd"] for option in data["options"]} == {None}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "plan what?"),
        ([QUICKSTART, "--model", "qwen3-8b", "--requests-per-day", "1"], "are two plans"),
        ([QUICKSTART, "--requests-per-day", "nan"], "--requests-per-day: nan is not a finite"),
        ([QUICKSTART, "--requests-per-day", "1e308"], "from 0.01 to 1e+12"),
        ([QUICKSTART, "--requests-per-day", "1e-300"], "from 0.01 to 1e+12"),
        ([QUICKSTART, "--requests-per-day", "1", "--token-ratio", "inf"], "inf is not a finite number"),
        ([QUICKSTART, "--requests-per-day", "1", "--precision", "4"], "go with --model"),
        (["--model", "all-minilm-l6-v2", "--requests-per-day", "1", "--input-tokens", "1", "--output-tokens",
          "1", "--hardware", "h100-80gb"], "is an encoder"),
        (["--model", "qwen3-8b", "--requests-per-day", "1", "--input-tokens", "nan", "--output-tokens", "1",
          "--hardware", "h100-80gb"], "--input-tokens: nan is not a finite"),
        (["--model", "qwen3-8b", "--requests-per-day", "1", "--input-tokens", "1", "--output-tokens", "0",
          "--hardware", "h100-80gb"], "tokens must be from 1"),
        (["--model", "qwen3-8b", "--requests-per-day", "1", "--input-tokens", "40960", "--output-tokens", "1",
          "--hardware", "h100-80gb"], "do not fit the model's context of 40,960"),
        (["--model", "qwen3-8b", "--requests-per-day", "1", "--input-tokens", "1", "--output-tokens", "1",
          "--hardware", "h100-80gb", "--bandwidth-share", "1.5"], "a share of a ceiling must be from"),
        ([QUICKSTART, "--requests-per-day", "1", "--volumes", "1e5,many"], "'many' is no number"),
        ([QUICKSTART, "--requests-per-day", "1", "--volumes", "0"], "requests a day must be from"),
        ([QUICKSTART, "--requests-per-day", "1", "--volumes", "nan"], "requests a day must be from"),
        ([QUICKSTART, "--requests-per-day", "0"], "give --requests-per-day, above 0"),
        ([QUICKSTART], "give --requests-per-day, above 0"),
        ([QUICKSTART, "--requests-per-day", "-1"], "above 0"),
        ([QUICKSTART, "--requests-per-day", "1", "--slo", "ttfb:1"], "'ttfb:1' is not one of ttft:MS"),
        ([QUICKSTART, "--requests-per-day", "1", "--slo", "ttft:0"], "'ttft:0' is not one of"),
        ([QUICKSTART, "--requests-per-day", "1", "--slo", "ttft:1,ttft:2"], "'ttft:2' is not one of"),
        ([QUICKSTART, "--requests-per-day", "1", "--slo", "ttft:1e30"], "'ttft:1e30' is more than a day"),
        (["no-run", "--requests-per-day", "1", "--reserved", "h100"], "--reserved: no price called 'h100'"),
        (["no-run", "--requests-per-day", "1", "--reserved", "h100-80gb"], "is no reserved price (on dem"),
        ([QUICKSTART, "--requests-per-day", "1", "--reserved", "gcp-g2-standard-4-3y"],
         "is a price of L4 24GB, and the plan has 2 vCPU: "),
        (["no-run", "--requests-per-day", "1", "--api", "openai/gpt5"], "--api: no API called 'openai/gpt5'"),
        (["no-run", "--requests-per-day", "1", "--token-ratio", "1e9"], "the ratio of tokens must be"),
        ([QUICKSTART, "--requests-per-day", "1", "--good", "1"], "below 1"),
        ([QUICKSTART, "--requests-per-day", "1", "--peak", "3"], "from 1 (a flat day) to 2"),
        ([QUICKSTART, "--requests-per-day", "1", "--input-tokens", "3"], "a run has its own"),
        ([QUICKSTART, "--requests-per-day", "1", "--api", "x/y"], "no API called 'x/y'"),
        (["--model", "qwen3-8", "--requests-per-day", "1", "--input-tokens", "1", "--output-tokens", "1",
          "--hardware", "h100-80gb"], "did you mean 'qwen3-8b'"),
        (["--model", "qwen3-8b", "--requests-per-day", "1"], "needs --input-tokens and --output-tokens"),
        (["--model", "qwen3-8b", "--requests-per-day", "1", "--input-tokens", "1", "--output-tokens", "1"],
         "needs --hardware"),
        (["--model", "qwen3-8b", "--requests-per-day", "1", "--input-tokens", "1", "--output-tokens", "1",
          "--hardware", "h100"], "did you mean"),
        (["--model", "qwen3-8b", "--requests-per-day", "1", "--input-tokens", "1", "--output-tokens", "1",
          "--hardware", "h100-80gb", "--precision", "7"], "'7' is not one of 16, 8, 4"),
    ],
)  # fmt: skip
def test_what_a_plan_refuses(bench: Bench, arguments: list[object], words: str) -> None:
    found = bench("plan", *arguments)
    assert found.returncode == ExitCode.USAGE
    assert words in found.stderr


def test_the_plan_by_hand_in_the_documents(bench: Bench) -> None:
    """Each line of docs/cost.md is right, and its last figures are those of the command."""
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    block = page.partition("<!-- by-hand:begin -->\n```\n")[2].partition("\n```")[0]
    found = {}
    for line in block.splitlines():
        words, _, sum_of = line.partition("  ")
        arithmetic, _, said = sum_of.strip().rpartition(" = ")
        assert computed(arithmetic) == pytest.approx(float(said), rel=2e-5), line
        found[words.strip()] = float(said)
    data = json.loads(bench("plan", QUICKSTART, "--requests-per-day", "1e6", "--json").stdout)
    baseline = data["options"][0]
    assert baseline["month_usd"] == pytest.approx(found["dollars a month"], rel=1e-4)
    assert 1e6 * baseline["request_usd"] == pytest.approx(found["dollars a million requests"], rel=1e-4)


# ---- explain -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["baseline", "bf16", "int8-dynamic", "bnb-nf4", "pruned-50"])
def test_the_arithmetic_gives_the_figure(bench: Bench, variant: str) -> None:
    """Whoever computes what is printed gets the row's own figure, and the one that the table shows."""
    data = json.loads(bench("explain", QUICKSTART, variant, "--json").stdout)
    worked = [one for one in data["figures"] if one["arithmetic"]]
    assert {"ttft_ms", "tpot_ms", "output_throughput", "cost_per_1k_tokens_usd", "mbu"} <= {
        one["key"] for one in worked
    }
    for one in worked:
        assert computed(one["arithmetic"]) == pytest.approx(one["alone"], rel=1e-4), one["key"]
    for one in data["figures"]:
        if one["times"]:
            assert computed(one["times"]) == pytest.approx(one["shown"]["value"], rel=1e-4), one["key"]
        elif one["arithmetic"]:
            assert one["shown"]["value"] == pytest.approx(one["alone"], rel=1e-9), one["key"]


def test_the_parts_add_up(bench: Bench) -> None:
    """From the baseline's dollars of a request to the variant's."""
    rows = json.loads((QUICKSTART / "run.json").read_text())["variants"]
    start = rows[0]["metrics"]["cost_per_request_usd"]["value"]
    for row in rows[1:]:
        data = json.loads(bench("explain", QUICKSTART, row["name"], "--json").stdout)
        end = next(one for one in data["figures"] if one["key"] == "cost_per_request_usd")["shown"]["value"]
        assert start + sum(part["usd"] for part in data["waterfall"]) == pytest.approx(end)


def test_a_row_explained_as_text(bench: Bench) -> None:
    found = bench("explain", QUICKSTART, "int8-dynamic").stdout
    assert found.startswith("quickstart, int8-dynamic: 1.9 × cheaper, but a different model")
    assert "  prompt " in found
    assert "\nweights_bytes = 247,866,880 B\n" in found
    values = [line for line in found.splitlines() if line[:1].isalpha() and " = " in line]
    assert any(line.startswith("top1_agreement = ") for line in values)
    assert not any(re.search(r"[\d\]] 1( \[|$)", line) for line in values)
    assert "  = 1000 * C_run / sum(n_in + n_out)\n  = 1000 * 0.1008 * 0.5 * " in found


def test_what_binds_is_said(bench: Bench) -> None:
    """By the shares in the same page; a share above 1 is explained."""
    data = json.loads(bench("explain", QUICKSTART, "baseline", "--json").stdout)
    read = next(one["shown"]["value"] for one in data["figures"] if one["key"] == "mbu")
    page = bench("explain", QUICKSTART, "baseline").stdout
    assert f"a step reads {read:.0%} of what memory delivers here" in page
    assert ("so memory binds" in page) == (read >= 0.6)
    row = load_run(QUICKSTART).rows[0]
    shares = {"mbu": replace(row.metrics["mbu"], value=1.2), "mfu": replace(row.metrics["mfu"], value=0.4)}
    assert "; above 100 % the caches delivered a part" in bound_words(replace(row, metrics=shares))
    assert bound_words(replace(row, metrics={})) == ""


def test_a_baseline_has_no_way_from_itself(bench: Bench) -> None:
    assert json.loads(bench("explain", QUICKSTART, "baseline", "--json").stdout)["waterfall"] is None


def test_what_cannot_be_explained(bench: Bench, tmp_path: Path) -> None:
    found = bench("explain", QUICKSTART, "bf61")
    assert found.returncode == ExitCode.USAGE
    assert "did you mean 'bf16'" in found.stderr
    run = write_run(tmp_path / "run")
    failed = [
        row["name"] for row in json.loads((run / "run.json").read_text())["variants"] if row["status"] != "ok"
    ]
    for name in failed:
        found = bench("explain", run, name)
        assert found.returncode == ExitCode.USAGE
        assert "has no figures" in found.stderr
