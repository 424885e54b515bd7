"""The table in terminals of every width: what it leaves out, and that the rest is whole."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console

from bench.errors import UsageError
from bench.report.formats import html, markdown
from bench.report.table import LEFT_OUT_FIRST, render
from bench.report.table_columns import COLUMNS, columns_of
from bench.results.run_summary import RunSummary

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
SERVED = ("serving", "serving/users")  # their columns are other ones, and their names are long
RUNS = sorted(
    name
    for path in REFERENCE.rglob("run.json")
    if (name := str(path.parent.relative_to(REFERENCE))) not in SERVED
)
NEVER_LEFT_OUT = [column for column in COLUMNS if column.key not in LEFT_OUT_FIRST]


def run_called(name: str) -> RunSummary:
    return RunSummary.from_json(json.loads((REFERENCE / name / "run.json").read_text()))


def lines(run: RunSummary, width: int) -> list[str]:
    """What is printed, at most ``width`` columns wide."""
    out = io.StringIO()
    render(run, Console(width=width, file=out))
    found = out.getvalue().splitlines()
    assert max(map(len, found)) <= width
    return found


def rows(printed: list[str]) -> list[str]:
    return [re.sub(r"\s+", " ", line) for line in printed if line.startswith("│")]


def test_rules_go_before_anything_wraps() -> None:
    run = run_called("quickstart")
    printed = [re.sub(r"\s+", " ", line) for line in lines(run, 80)]
    assert not any("│" in line for line in printed)
    assert " int8-dynamic * 0.0000963 0.337 [0.326, 0.349] better 1.27 45.0% " in printed


def test_what_drift_was_scored_on_is_below_the_table(sample: ModuleType) -> None:
    text = " ".join(" ".join(lines(sample.summary(sample.rich_run()), 120)).split())
    assert "Drift is over 13,515 tokens in 53 windows of 256 (mixed)." in text
    assert "13,515 of the 20,000 tokens asked for were scored: the text has no more." in text
    assert "[0.00130" not in text


@pytest.mark.parametrize("written", [markdown.render, html.render], ids=["markdown", "html"])
def test_a_machine_that_is_hardly_used_is_not_said_to_be_unused(
    sample: ModuleType, written: Callable[[Sequence[RunSummary]], str]
) -> None:
    run = sample.rich_run()
    run["price"]["utilisation"] = 0.004
    assert "used 0.4% of the time" in " ".join(" ".join(lines(sample.summary(run), 120)).split())
    assert "0.4% of the time" in written(sample.read(run))


def test_a_single_warm_up_is_no_plural() -> None:
    page = html.render([run_called("quickstart")])
    assert "Warm-up: 1 request, " in page
    assert "Warm-up: 2 requests, " in page


def test_a_run_of_earlier_code_does_not_know_it(sample: ModuleType) -> None:
    run = sample.rich_run()
    for row in run["variants"]:
        for figure in filter(None, row["drift"].values()):
            figure.pop("windows")
    assert "Drift is over" not in " ".join(lines(sample.summary(run), 120))


def titles_left_out(printed: list[str]) -> list[str]:
    found = re.search(r"left out: (.*?) \(", " ".join(line.strip() for line in printed))
    return found[1].split(", ") if found else []


@pytest.mark.parametrize("width", [100, 120, 160, 400])
@pytest.mark.parametrize("name", RUNS)
def test_names_ratios_verdicts_and_drift_are_whole(name: str, width: int) -> None:
    run = run_called(name)
    printed = lines(run, width)
    assert not any("…" in line for line in printed)
    for variant, row in zip(run.rows, rows(printed), strict=True):
        for column in NEVER_LEFT_OUT:
            assert column.cell(run, variant) in row


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", RUNS)
def test_where_the_least_does_not_fit_either_it_wraps(name: str, width: int) -> None:
    run = run_called(name)
    printed = lines(run, width)
    assert not any("…" in line for line in printed)
    text = re.sub(r"\s+", " ", " ".join(printed))
    for variant in run.rows:
        for column in NEVER_LEFT_OUT:
            if column.key in ("cost", "kl", "top1"):
                assert column.cell(run, variant) in text
        for number in re.findall(r"[\d.]+", COLUMNS[7].cell(run, variant)):
            assert number in text


@pytest.mark.parametrize("width", [60, 80, 100, 140, 400])
@pytest.mark.parametrize("name", SERVED)
def test_a_table_of_servers_keeps_the_dollars_of_a_good_request_and_the_ratio(name: str, width: int) -> None:
    run = run_called(name)
    printed = lines(run, width)
    text = re.sub(r"\s+", " ", " ".join(printed))
    (column,) = (one for one in columns_of(run) if one.key == "cost_good")
    for row in run.rows:
        ratio = run.comparison(row, "cost_per_good_request_usd")
        assert column.cell(run, row).split()[0] in text
        assert ratio is None or f"{ratio.ratio:.3f}" in text
    assert ("$/1k tok" in titles_left_out(printed)) == (width <= 100)


def test_names_fold_in_a_narrow_terminal_and_stay_whole() -> None:
    run = run_called("pruning-distillation")
    first = "".join(line[1:12].rstrip() if line[1:2] != " " else "" for line in lines(run, 60))
    assert "magnitude-50-global" in first
    assert "depth-24-distilled-int8" in first


def test_columns_are_left_out_in_their_order_and_named() -> None:
    run = run_called("quantisation-cpu/2026-11-25-second")
    titles = {column.key: column.title for column in COLUMNS}
    order = [titles[key] for key in LEFT_OUT_FIRST if key in titles]  # a run on a CPU has no columns of a GPU
    seen = []
    for width in range(160, 59, -10):
        left_out = titles_left_out(lines(run, width))
        assert set(left_out) == set(order[: len(left_out)])
        seen.append(len(left_out))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, len(order))


def test_what_shows_all_columns_is_said() -> None:
    run = run_called("quantisation-cpu/2026-11-25-second")
    note = next(line for line in lines(run, 120) if "left out" in line)
    wanted = int(re.search(r"\((\d+) columns", note)[1])  # type: ignore[index]
    assert "--format markdown" in note
    assert titles_left_out(lines(run, wanted)) == []
    assert titles_left_out(lines(run, wanted - 1)) == ["peak MiB"]


QUICKSTART = "quickstart"


def shown(keys: str, name: str = QUICKSTART) -> str:
    out = io.StringIO()
    render(run_called(name), Console(width=200, file=out), keys)
    return out.getvalue()


def test_columns_by_their_keys() -> None:
    """The rows keep their names; a figure that no usual table has is a column too."""
    found = shown("mbu,mfu,bound,e2el_ms")
    assert "verdict" not in rows_heading(found)
    heading = rows_heading(found)
    assert all(
        name in heading for name in ("variant", "bandwidth used", "compute used", "bound by", "e2el_ms")
    )
    share = run_called(QUICKSTART).rows[0].figure("mbu")
    assert share is not None
    assert f"{math.floor(1000 * share.value) / 10:.1f}%" in found  # rounded down
    assert "shares of what this machine reached at best" in found


def test_columns_beside_the_usual_ones() -> None:
    heading = rows_heading(shown("+mbu"))
    assert heading.index("verdict") < heading.index("bandwidth used")
    assert all(column.title in heading for column in COLUMNS)
    assert "shares of" not in shown("")


def test_a_share_above_1_is_explained() -> None:
    run = run_called(QUICKSTART)
    above = [row.title for row in run.rows if (share := row.figure("mfu")) is not None and share.value > 1]
    assert above, "the quickstart has a row whose kernel multiplies integers"
    found = shown("mfu")
    assert f"{above[0]}: above 100 % the kernel multiplies in a cheaper type" in " ".join(found.split())


def rows_heading(printed: str) -> str:
    return next(line for line in printed.splitlines() if "variant" in line)


@pytest.mark.parametrize(
    ("keys", "words"),
    [("mbuu", "did you mean 'mbu'"), ("variant,,cost", "called ''"), ("e2el", "did you mean 'e2el_ms'")],
)
def test_a_column_that_is_none(keys: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        shown(keys)
