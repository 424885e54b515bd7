"""The sentence of a row, where one-off work comes into it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from bench.metrics import cost, memory, one_off, output_drift
from bench.report.columns import COLUMNS
from bench.report.reading import drift_words, once_words, sentence, timed_figure, timed_words


@pytest.fixture
def run(sample: ModuleType) -> dict[str, Any]:
    return sample.rich_run()  # type: ignore[no-any-return]


def row(run: dict[str, Any], seconds: float, requests: float | None) -> dict[str, Any]:
    """The first variant that was measured, with a bill."""
    found = next(one for one in run["variants"] if one["status"] == "ok" and not one["is_baseline"])
    usd = one_off.USD.scalar(seconds * 1e-5, seconds=seconds)
    back = None if requests is None else one_off.BREAK_EVEN.scalar(requests)
    return {**found, "metrics": {**found["metrics"], one_off.USD.key: usd, one_off.BREAK_EVEN.key: back}}


def test_what_was_spent_and_when_it_comes_back(run: dict[str, Any]) -> None:
    variant = row(run, 120.0, 1234.4)
    assert once_words(variant) == "made once in 120 s for 0.00120 USD, earned back after 1,234 requests"
    assert once_words(variant) in sentence(run, variant)


def test_what_never_comes_back_says_so(run: dict[str, Any]) -> None:
    assert once_words(row(run, 120.0, None)).endswith("USD, not shown to be earned back")


@pytest.mark.parametrize("seconds", [0.5, 9.9])
def test_a_few_seconds_are_not_worth_a_word(run: dict[str, Any], seconds: float) -> None:
    assert once_words(row(run, seconds, 3.0)) == ""


def test_a_sentence_and_the_table_round_agreement_alike(run: dict[str, Any]) -> None:
    column = next(one for one in COLUMNS if one.key == "top1")
    variant = next(one for one in run["variants"] if column.cell(run, one) != "-")
    for share, shown in {
        0.9984: "99.8%",
        0.9999: "99.9%",
        1.0: "100.0%",
        0.975: "97.5%",
        0.57: "57.0%",
    }.items():
        figure = {**variant["drift"][output_drift.TOP1.key], "value": share}
        one = {**variant, "drift": {**variant["drift"], output_drift.TOP1.key: figure}}
        assert column.cell(run, one) == shown
        assert f"(agrees on {shown} of tokens)" in drift_words(one)


def test_nothing_spent_nothing_said(run: dict[str, Any]) -> None:
    assert all(once_words(one) == "" for one in run["variants"])


def test_dollars_that_moved_with_the_machine(run: dict[str, Any]) -> None:
    """A run of earlier code, in which the machine was a fifth slower for the row than for the baseline."""
    base = next(one for one in run["variants"] if one["is_baseline"])
    duet = next(
        one
        for one in run["comparisons"]
        if (one["metric"], one["design"], one["group"]) == (cost.PER_1K.key, "duet", base["group"])
    )
    (row,) = [
        one for one in run["variants"] if (one["name"], one["group"]) == (duet["variant"], duet["group"])
    ]
    run["comparisons"] = [{**duet, "pairs": None}]
    before = base["metrics"][cost.PER_1K.key]["value"] * duet["ratio"]
    row["metrics"][cost.PER_1K.key]["value"] = before * 1.04
    assert timed_words(run) == ""
    row["metrics"][cost.PER_1K.key]["value"] = before * 1.2
    assert "up to 20% off the cost ratio" in timed_words(run)
    row["metrics"][cost.PER_1K.key] = None
    assert timed_words(run) == ""


def test_what_the_columns_of_time_and_money_are(run: dict[str, Any]) -> None:
    """Pairs, the baseline's scale, the error of a verdict; one number where all rows have as many pairs."""
    ours = [one for one in run["comparisons"] if one["metric"] == cost.PER_1K.key][:2]
    run["comparisons"] = [{**one, "pairs": pairs} for one, pairs in zip(ours, (4, 12), strict=True)]
    assert "from 4 to 12 fresh pairs of processes" in timed_words(run)
    assert "at most 2% of tables without a difference" in timed_words(run)
    run["comparisons"][1]["pairs"] = 4
    assert "from 4 fresh pairs of processes that take turns;" in timed_words(run)
    run["variants"][1]["void_pairs"] = 3
    assert "turns (3 more left out, while others used the machine);" in timed_words(run)


def test_a_timed_figure_is_the_baseline_s_times_the_ratio(run: dict[str, Any]) -> None:
    one = next(found for found in run["comparisons"] if found["metric"] == cost.PER_1K.key)
    named = {(row["name"], row["group"]): row for row in run["variants"]}
    row = named[one["variant"], one["group"]]
    one |= {"value": 0.5, "value_low": 0.4, "value_high": 0.6, "design": "duet"}
    assert timed_figure(run, row, cost.PER_1K) == {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    one["design"] = "solo"
    assert timed_figure(run, row, cost.PER_1K) == row["metrics"][cost.PER_1K.key]


def test_the_peak_of_a_row_on_a_gpu_is_its_own_part(sample: ModuleType) -> None:
    """The driver's figure is of every process there."""
    (peak,) = [column for column in COLUMNS if column.key == "peak"]
    row = sample.variant("on a GPU")
    assert peak.cell({}, row) == "1,000"
    row["metrics"] |= {one.key: one.scalar(size * sample.MIB) for one, size in ON_GPU.items()}
    assert peak.cell({}, row) == "300"


ON_GPU = {memory.ALLOCATED: 300, memory.DEVICE: 9000}
