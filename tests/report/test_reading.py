"""The sentence of a row, where one-off work comes into it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from bench.metrics import cost, memory, one_off, output_drift
from bench.report.columns import COLUMNS
from bench.report.reading import drift_words, moved_words, once_words, sentence


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
    """A row measured alone while the machine was a fifth slower than it was for the baseline."""
    base = next(one for one in run["variants"] if one["is_baseline"])
    duet = next(
        one
        for one in run["comparisons"]
        if (one["metric"], one["design"], one["group"]) == (cost.PER_1K.key, "duet", base["group"])
    )
    (row,) = [
        one for one in run["variants"] if (one["name"], one["group"]) == (duet["variant"], duet["group"])
    ]
    run["comparisons"] = [duet]
    before = base["metrics"][cost.PER_1K.key]["value"] * duet["ratio"]
    row["metrics"][cost.PER_1K.key]["value"] = before * 1.04
    assert moved_words(run) == ""
    row["metrics"][cost.PER_1K.key]["value"] = before * 1.2
    assert "up to 20% off the cost ratio" in moved_words(run)
    row["metrics"][cost.PER_1K.key] = None
    assert moved_words(run) == ""


def test_the_peak_of_a_row_on_a_gpu_is_its_own_part(sample: ModuleType) -> None:
    """The driver's figure is of every process there."""
    (peak,) = [column for column in COLUMNS if column.key == "peak"]
    row = sample.variant("on a GPU")
    assert peak.cell({}, row) == "1,000"
    row["metrics"] |= {one.key: one.scalar(size * sample.MIB) for one, size in ON_GPU.items()}
    assert peak.cell({}, row) == "300"


ON_GPU = {memory.ALLOCATED: 300, memory.DEVICE: 9000}
