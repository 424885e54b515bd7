"""Columns that a user asks for: usual ones, further ones, and any figure of the run."""

from __future__ import annotations

from types import ModuleType

import pytest

from bench.errors import UsageError
from bench.report.custom_columns import chosen_columns, shares_words
from bench.report.table_columns import columns_of
from bench.results.run_summary import RunSummary


@pytest.fixture
def run(sample: ModuleType) -> RunSummary:
    found: RunSummary = sample.summary(sample.rich_run())
    return found


def keys(run: RunSummary, asked: str) -> list[str]:
    return [column.key for column in chosen_columns(run, asked)]


def test_the_names_of_the_rows_come_first(run: RunSummary) -> None:
    assert keys(run, "cost, ttft") == ["variant", "cost", "ttft"]
    assert keys(run, "ttft,variant,ttft") == ["variant", "ttft"]
    assert keys(run, "mbu,bound") == ["variant", "mbu", "bound"]


def test_a_plus_adds_to_the_usual_table(run: RunSummary) -> None:
    usual = [column.key for column in columns_of(run)]
    assert keys(run, "+bound,cost") == [*usual, "bound"]


@pytest.mark.parametrize("asked", ["+bound,+mbu", "+bound,mbu", " +bound , + mbu", "+ bound,+mbu"])
def test_a_plus_before_each_key_says_the_same(run: RunSummary, asked: str) -> None:
    assert keys(run, asked) == [*(column.key for column in columns_of(run)), "bound", "mbu"]


def test_any_figure_is_a_column_with_its_key_as_title(run: RunSummary) -> None:
    _names, column = chosen_columns(run, "e2el_ms")
    base, fast = run.rows[:2]
    assert (column.title, column.right) == ("e2el_ms", True)
    assert [column.cell(run, row) for row in (base, fast)] == ["1,000", "630"]
    assert column.cell(run, run.rows[-1]) == "-"


def test_a_column_of_money_is_the_baseline_s_times_the_ratio(sample: ModuleType) -> None:
    key = "cost_per_1k_tokens_usd"
    ratio = {
        **sample.ratio("v", 0.5, 0.4, 0.6, "better"),
        "value": 3e-4,
        "value_low": None,
        "value_high": None,
    }
    found = sample.summary(sample.run([sample.baseline(), sample.variant("v", 0.9)], [ratio]))
    _names, column = chosen_columns(found, key)
    assert column.cell(found, found.rows[1]) == "0.000300"


@pytest.mark.parametrize(
    "asked", ["cots", "", "cost,,ttft", "+", "+cost,+", "cost,+ttft", "++cost", "kld_men"]
)
def test_an_unknown_key_is_refused(run: RunSummary, asked: str) -> None:
    with pytest.raises(UsageError, match="no column and no figure of this run is called"):
        chosen_columns(run, asked)


def test_the_nearest_key_is_suggested(run: RunSummary) -> None:
    with pytest.raises(UsageError, match=r"'cots'.*did you mean 'cost'"):
        chosen_columns(run, "cots")


@pytest.mark.parametrize(("asked", "said"), [("mbu", True), ("mfu", True), ("bound", True), ("cost", False)])
def test_shares_are_explained_where_they_are_shown(run: RunSummary, asked: str, said: bool) -> None:
    words = "shares of what this machine reached at best, measured in the run"
    assert shares_words(run, chosen_columns(run, asked)) == (words if said else "")
