"""The sentence of a row, where one-off work comes into it."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from bench.metrics import memory, one_off
from bench.report.columns import COLUMNS
from bench.report.reading import once_words, sentence


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


def test_nothing_spent_nothing_said(run: dict[str, Any]) -> None:
    assert all(once_words(one) == "" for one in run["variants"])


def test_the_peak_of_a_row_on_a_gpu_is_its_own_part(sample: ModuleType) -> None:
    """The driver's figure is of every process there."""
    (peak,) = [column for column in COLUMNS if column.key == "peak"]
    row = sample.variant("on a GPU")
    assert peak.cell({}, row) == "1,000"
    row["metrics"] |= {one.key: one.scalar(size * sample.MIB) for one, size in ON_GPU.items()}
    assert peak.cell({}, row) == "300"


ON_GPU = {memory.ALLOCATED: 300, memory.DEVICE: 9000}
